"""Every place that writes to a file system is known, and how what it writes is protected: a new one has to say so here first."""

import doctest
from collections import Counter

import write_sites

PROTECTED = {
    # The seam: nothing is retried, every error is raised; `replay.faults.disk` takes its place.
    "replay/live/disk.py Disk.make mkdir": 1,
    "replay/live/disk.py Disk.make disk.sync_names": 1,
    "replay/live/disk.py Disk.open os.open": 1,
    "replay/live/disk.py Disk.append os.write": 1,
    "replay/live/disk.py Disk.sync os.fdatasync": 1,
    "replay/live/disk.py Disk.sync os.fsync": 1,
    "replay/live/disk.py Disk.truncate os.open": 1,
    "replay/live/disk.py Disk.truncate os.ftruncate": 1,
    "replay/live/disk.py Disk.truncate os.fsync": 1,
    "replay/live/disk.py Disk.rename os.replace": 1,
    "replay/live/disk.py Disk.remove unlink": 1,
    "replay/live/disk.py Disk.sync_names os.fsync": 1,
    "replay/live/disk.py Disk.replacing rename": 1,
    "replay/live/disk.py Draft.write disk.append": 1,
    # Through the seam, durable before anything is sent: `tests/crashes.py` crashes behind every operation.
    "replay/live/desk.py Desk.new disk.make": 1,
    "replay/live/desk.py Desk.new disk.remove": 1,
    "replay/live/desk.py Desk.new disk.append": 1,
    "replay/live/desk.py Desk.mark disk.append": 1,
    "replay/live/desk.py settle rename": 2,
    "replay/live/desk.py settle replacing": 1,
    "replay/live/desk.py settle truncate": 1,
    "replay/live/desk.py settle disk.sync_names": 1,
    "replay/live/desk.py dealt_with rename": 1,
    "replay/live/desk.py dealt_with disk.sync_names": 1,
    "replay/live/head.py copy_sources replacing": 1,
    "replay/live/log.py Log.__init__ disk.open": 1,
    "replay/live/log.py Log.durable disk.sync": 1,
    "replay/live/log.py Log._write disk.append": 1,
    "replay/live/log.py Log._rotate disk.open": 1,
    "replay/live/log.py Log._rotate disk.sync": 1,
    "replay/live/log.py Log._rotate disk.sync_names": 1,
    "replay/live/paper.py assemble disk.make": 1,
    "replay/live/snapshots.py write replacing": 1,
    "replay/live/snapshots.py write disk.remove": 1,
    "replay/live/snapshots.py _names disk.remove": 1,
    # Through the seam: each file whole and durable, the manifest last; crashed in tests/test_crashes.py.
    "replay/data/store.py write disk.make": 1,
    "replay/data/store.py write replacing": 4,
    "replay/data/store.py unpack replacing": 1,
    "replay/data/store.py _write_parquet ParquetWriter": 1,
    "replay/data/store.py _write_parquet write_table": 1,
    # Through the seam: parts of a download, each whole and durable before the index names it; crashed in tests/test_crashes.py.
    "replay/collect/parts.py Parts.write disk.make": 2,
    "replay/collect/parts.py Parts.write replacing": 1,
    "replay/collect/parts.py Parts.write ParquetWriter": 1,
    "replay/collect/parts.py Parts.write write_table": 1,
    "replay/collect/parts.py Parts._append disk.make": 1,
    "replay/collect/parts.py Parts._append disk.open": 1,
    "replay/collect/parts.py Parts._append disk.append": 1,
    "replay/collect/parts.py Parts._append disk.sync": 1,
    "replay/collect/parts.py Parts._append disk.sync_names": 1,
    # Through the seam: the session of a recorded day, made again of its raw frames where its manifest is missing; the one before it loses its
    # manifest first, durably.
    "replay/collect/days.py close_day replacing": 1,
    "replay/collect/download.py replace_session disk.remove": 1,
    "replay/collect/download.py replace_session disk.sync_names": 1,
    # Through the seam: a folder beside its place, then renamed, the one before put aside; crashed in tests/test_crashes.py. What is deleted
    # is a draft, or the run that was put aside.
    "replay/runs/result.py Result.save disk.make": 1,
    "replay/runs/result.py Result._write shutil.rmtree": 1,
    "replay/runs/result.py Result.save_report replacing": 1,
    # A run that was replaced: its own files are deleted, what somebody else put there moves to the new one.
    "replay/runs/result.py _retire unlink": 1,
    "replay/runs/result.py _retire rename": 1,
    "replay/runs/result.py _retire rmdir": 1,
    "replay/runs/result.py Result._write disk.make": 1,
    "replay/runs/result.py Result._write replacing": 3,
    "replay/runs/result.py Result._write write_table": 1,
    "replay/runs/result.py Result._write rename": 2,
    "replay/runs/result.py Result._write disk.sync_names": 1,
    # A link to the newest run: a crash in between leaves none, and the next run makes it again.
    "replay/cli/run.py remember unlink": 1,
    "replay/cli/run.py remember symlink_to": 1,
    "replay/cli/run.py remember replace": 1,
    # A new run's folder is claimed by making it, and given up empty.
    "replay/cli/run.py new_folder mkdir": 2,
    "replay/cli/run.py saved rmdir": 1,
    # A lock is the system's and ends with its process; what the file says is for people.
    "replay/live/lock.py hold mkdir": 1,
    "replay/live/lock.py hold os.open": 1,
    "replay/live/lock.py hold os.ftruncate": 1,
    "replay/live/lock.py hold os.write": 1,
    # The kill mark: durable before anybody is told, through the seam; it outlives journal and process (tests/test_live_safety.py).
    "replay/live/kill_mark.py write replacing": 1,
    "replay/live/kill_mark.py clear disk.remove": 1,
    "replay/live/kill_mark.py clear disk.sync_names": 1,
    # For people, while a step hangs; a beat for the supervisor.
    "replay/live/safety.py Safety._tell_supervisor os.write": 1,
    # A name for a hash; asked for again where it is not there.
    "replay/trust.py remember mkdir": 1,
    "replay/trust.py remember touch": 1,
    # The operator's door: made anew by every process.
    "replay/live/control.py Door.__init__ unlink": 1,
    "replay/live/control.py Door.__init__ bind": 1,
    "replay/live/control.py Door.close unlink": 1,
    # Through the seam, for people to read, and to count on with: whole, or as it was before.
    "replay/live/status.py write_status replacing": 1,
    "replay/live/uptime.py Uptime.write replacing": 1,
    "replay/live/safety.py Safety._stack replacing": 1,
    # Only modes, of what is there.
    "replay/live/disk.py Disk.shut chmod": 1,
    # Code made from a strategy, named by its hash: a draft, then renamed; made again where it is not there.
    "replay/kernel/cache.py private mkdir": 1,
    "replay/kernel/cache.py private chmod": 1,
    "replay/kernel/cache.py content_of os.unlink": 1,
    "replay/compiler.py _write_and_import write_text": 1,
    "replay/compiler.py _write_and_import replace": 1,
    # What the user asked for, written in one go from what is still there: a crash leaves a part of it, and it is asked for again.
    "replay/cli/explain.py sql write_csv": 1,
    "replay/cli/fuzz.py fuzz open": 1,
    "replay/cli/new.py new write_text": 2,
    "replay/faults/testing.py _Tested._fail mkdir": 1,
    "replay/faults/testing.py _Tested._fail write_text": 1,
    "replay/fuzz/report.py _failure write_text": 1,
    "replay/mistakes.py _Method.bind bind": 1,
    "replay/runs/sweep_view.py write write_table": 1,
    "replay/runs/sweep_view.py write write_csv": 1,
    "replay/runs/sweep_view.py write write_text": 1,
    # Read by this process, or its children, only: what a crash leaves is litter in the system's folder for that.
    "replay/bench/local.py folder TemporaryDirectory": 1,
    "replay/bench/local.py order chmod": 1,
    "replay/bench/local.py order write_text": 2,
    "replay/bench/local.py serving disk.open": 1,
    "replay/check/lookahead.py Proof.differs shutil.rmtree": 1,
    "replay/check/pool.py Worker.__init__ mkdtemp": 1,
    "replay/check/pool.py Worker.__init__ open": 1,
    "replay/check/pool.py Worker.__exit__ shutil.rmtree": 1,
    "replay/check/pool.py Worker.do write_bytes": 1,
    "replay/check/pool.py Worker.do unlink": 1,
    "replay/check/pool.py stand_in mkdir": 2,
    "replay/check/pool.py stand_in symlink_to": 1,
    "replay/check/worker.py work tofile": 1,
    "replay/check/worker.py main os.open": 1,
    "replay/check/worker.py main os.write": 1,
    "replay/check/worker.py _child write_bytes": 1,
    "replay/cli/run.py prepare mkstemp": 1,
    "replay/cli/run.py prepare unlink": 1,
    "replay/cli/run.py remove_dead_spools unlink": 1,
    "replay/collect/days.py close_apart open": 1,
    "replay/collect/days.py close_day TemporaryFile": 1,
    "replay/collect/days.py close_day np.memmap": 1,
    "replay/data/arrange.py _gather TemporaryFile": 1,
    "replay/data/arrange.py _gather truncate": 1,
    "replay/data/arrange.py _gather np.memmap": 1,
    "replay/data/canonical.py assemble TemporaryFile": 1,
    "replay/data/canonical.py assemble np.memmap": 1,
    "replay/data/canonical.py _read np.memmap": 1,
    "replay/fuzz/swarm.py Swarm.run TemporaryDirectory": 1,
    "replay/fuzz/swarm.py _Process.__init__ open": 1,
    "replay/fuzz/swarm.py _Process.__init__ write_bytes": 1,
    "replay/fuzz/worker.py main open": 1,
    "replay/fuzz/worker.py main os.open": 1,
    "replay/fuzz/worker.py main os.write": 1,
    "replay/spool.py Spool.__init__ open": 1,
    "replay/spool.py Spool.remove unlink": 1,
    # The simulated disk's own folder.
    "replay/faults/disk.py SimulatedDisk.__init__ mkdir": 2,
    "replay/faults/disk.py SimulatedDisk.__init__ write_bytes": 1,
    "replay/faults/disk.py SimulatedDisk.append disk.append": 2,
    "replay/faults/disk.py SimulatedDisk.truncate truncate": 1,
    "replay/faults/disk.py SimulatedDisk.rename rename": 1,
    "replay/faults/disk.py SimulatedDisk.remove disk.remove": 1,
}


def test_every_write_site_is_known():
    found = Counter(write_sites.sites())
    new = {site: n for site, n in found.items() if n != PROTECTED.get(site)}
    assert not new, (
        f"new write sites: say in this file how each is protected, and crash it in test_crashes.py if it promises to survive: {new}"
    )
    assert not PROTECTED.keys() - found.keys(), "gone: take them off the list"


def test_what_is_durable_goes_through_the_seam():
    """Nothing syncs beside it, and nothing renames a file into place but the cache of compiled strategies."""
    for site in write_sites.sites():
        path, function, call = site.split()
        if call in ("os.fsync", "os.fdatasync", "os.replace", "replace", "os.rename"):
            assert path == "replay/live/disk.py" or function in ("_write_and_import", "remember"), site


def test_writers_are_recognised():
    assert doctest.testmod(write_sites).failed == 0
    for text in (
        "open(p, 'w')", "open(p, mode='r+')", "p.open('xb')", "io.open(p, how)", "p.write_text(t)", "os.open(p, os.O_RDONLY | os.O_CREAT)", "os.write(f, b)",
        "os.replace(a, b)", "p.rename(q)", "p.replace(q)", "os.fsync(f)", "np.save(p, a)", "np.memmap(p, D, 'w+')", "np.memmap(p)", "a.tofile(p)",
        "pq.write_table(t, p)", "pq.ParquetWriter(p, s)", "db.execute('COPY t TO p')", "shutil.copy(a, b)", "disk.append(f, b)", "self.disk.sync(f)", "Disk(p).remove(n)",
        "pickle.dump(a, f)", "tempfile.mkstemp()",
    ):  # fmt: skip
        assert write_sites.written_by(write_sites.ast.parse(text, mode="eval").body), text
    for text in (
        "open(p)",
        "open(p, 'rb')",
        "p.open()",
        "Session.open(path)",
        "text.replace('a', 'b')",
        "np.memmap(p, D, 'r')",
        "rows.append(x)",
        "link(*k)",
    ):
        assert not write_sites.written_by(write_sites.ast.parse(text, mode="eval").body), text
