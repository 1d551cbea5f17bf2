"use strict";
(async () => {
  const root = document.documentElement, wanted = {}, drawn = new Set(), packed = {};
  const charts = document.querySelectorAll(".chart");

  // ---- theme: the system's, unless the reader says otherwise
  const system = matchMedia("(prefers-color-scheme: dark)");
  const button = document.getElementById("theme");
  const setTheme = dark => {
    root.dataset.theme = dark ? "dark" : "light";
    button.textContent = dark ? "Light" : "Dark";
    drawn.forEach(draw);
  };
  button.hidden = false;
  button.addEventListener("click", () => setTheme(root.dataset.theme !== "dark"));
  system.addEventListener("change", e => setTheme(e.matches));

  // ---- what is packed: the chart library, which runs because the policy knows its hash, and what is drawn
  const unpacked = async text => {
    const bytes = Uint8Array.from(atob(text), c => c.charCodeAt(0));
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  };
  try {
    await Promise.all([...document.querySelectorAll("script[type='application/gzip']")].map(async e => { packed[e.id] = await unpacked(e.textContent); }));
    const library = document.createElement("script");
    library.textContent = packed.library;
    document.head.append(library);
  } catch (e) {
    charts.forEach(box => { box.classList.remove("waiting"); box.textContent = `No chart: this browser cannot unpack it (${e.message}). One of 2023 or later can.`; });
  }
  delete packed.library;

  // ---- charts: read, coloured and drawn when they come near the window
  const probe = document.body.appendChild(document.createElement("i"));
  probe.hidden = true;
  const colour = name => {
    probe.style.color = `var(--${name})`;
    return getComputedStyle(probe).color;
  };
  const colours = value =>
    typeof value === "string" ? (/^@\w+$/.test(value) ? colour(value.slice(1)) : value)
    : Array.isArray(value) ? value.map(colours)
    : value && typeof value === "object" ? Object.fromEntries(Object.entries(value).map(([k, v]) => [k, k === "bdata" || k === "customdata" ? v : colours(v)]))
    : value;

  const axes = layout => Object.keys(layout).filter(k => /^[xy]axis\d*$/.test(k));

  function dressed(layout, zoomable) {
    const [fg, mute, grid, bg] = ["@fg", "@mute", "@line", "@bg"].map(colours);
    const narrow = innerWidth < 640;
    const full = {
      paper_bgcolor: bg, plot_bgcolor: bg, font: {color: fg, size: 12, family: getComputedStyle(document.body).fontFamily},
      margin: {l: narrow ? 52 : 64, r: 8, t: 26, b: 46}, autosize: true, dragmode: zoomable ? "zoom" : false,
      legend: {orientation: "h", x: 0, y: 1.01, yanchor: "bottom", font: {size: 11}}, showlegend: true,
      hoverlabel: {bgcolor: bg, bordercolor: mute, font: {color: fg, size: 12}, align: "left"}, ...colours(layout),
    };
    for (const name of axes(full))
      full[name] = {gridcolor: grid, zerolinecolor: grid, linecolor: grid, tickcolor: grid, automargin: false, fixedrange: !(zoomable && name[0] === "x"), ...full[name]};
    return full;
  }

  function draw(box) {
    const source = wanted[box.id] || box.dataset.source;
    const {data, layout} = JSON.parse(packed[source]);
    const zoomable = "zoom" in box.dataset, before = box.layout;
    const full = dressed(layout, zoomable);
    if (before && box.dataset.drawn === source && before.xaxis.autorange === false) full.xaxis.range = before.xaxis.range.slice();
    Plotly.react(box, colours(data), full, {displaylogo: false, responsive: true, displayModeBar: zoomable, doubleClick: "reset+autosize",
      modeBarButtonsToRemove: ["lasso2d", "select2d", "toImage", "autoScale2d"]});
    box.dataset.drawn = source;
    box.classList.remove("waiting");
    if (!drawn.has(box)) {
      drawn.add(box);
      if (zoomable) watch(box);
    }
  }

  // zooming in time fits the prices that are in view
  function watch(box) {
    box.on("plotly_relayout", change => {
      if (!Object.keys(change).some(k => k.startsWith("xaxis"))) return;
      const {xaxis, yaxis} = box._fullLayout;
      if (xaxis.autorange || change["xaxis.autorange"]) return void Plotly.relayout(box, {"yaxis.autorange": true});
      const [from, to] = xaxis.range.map(xaxis.r2l);
      let low = Infinity, high = -Infinity;
      for (const {x, y} of box.calcdata.map(c => c[0].trace))
        for (let k = 0; k < x.length; k++)
          if (x[k] >= from && x[k] <= to && y[k] === y[k]) { low = Math.min(low, y[k]); high = Math.max(high, y[k]); }
      const pad = (high - low || Math.abs(high) * 1e-4) * 0.06;
      if (low <= high && (yaxis.range[0] !== low - pad || yaxis.range[1] !== high + pad)) Plotly.relayout(box, {"yaxis.range": [low - pad, high + pad]});
    });
    const said = document.getElementById(box.dataset.said);
    if (said)
      box.on("plotly_click", ({points: [p]}) => {
        if (p.customdata) said.textContent = `replay explain RUN ${p.customdata[0]}`;
      });
  }

  const seen = new IntersectionObserver(entries => entries.forEach(e => {
    if (e.isIntersecting) { seen.unobserve(e.target); draw(e.target); }
  }), {rootMargin: "400px"});

  document.querySelectorAll("select[data-chart]").forEach(select => select.addEventListener("change", () => {
    const box = document.getElementById(select.dataset.chart);
    wanted[box.id] = select.value;
    draw(box);
  }));
  addEventListener("beforeprint", () => charts.forEach(draw));

  // ---- one symbol of many
  const search = document.getElementById("symbols-search");
  if (search && packed["symbols-data"]) {
    const rows = JSON.parse(packed["symbols-data"]), body = document.querySelector("#symbols tbody"), first = [...body.children];
    const row = cells => {
      const tr = document.createElement("tr");
      cells.forEach((text, k) => {
        const cell = tr.appendChild(document.createElement(k ? "td" : "th"));
        cell.textContent = text;
        cell.className = k === 0 ? "text" : k === cells.length - 4 ? (/^\+/.test(text) ? "gain" : /^-/.test(text) ? "loss" : "") : "";
      });
      return tr;
    };
    search.disabled = false;
    search.addEventListener("input", () => {
      const asked = search.value.trim().toUpperCase();
      body.replaceChildren(...(asked ? rows.filter(r => r[0].toUpperCase().startsWith(asked)).slice(0, first.length).map(row) : first));
    });
  }

  // ---- how a figure is computed: by hover, focus or touch; Escape closes
  const tip = document.getElementById("tip");
  let shown = null;
  const show = at => {
    shown = at;
    if (!at) { tip.hidden = true; return; }
    tip.textContent = at.dataset.how;
    tip.hidden = false;
    const of = at.getBoundingClientRect(), own = tip.getBoundingClientRect();
    tip.style.left = Math.max(8, Math.min(of.left, innerWidth - own.width - 8)) + "px";
    tip.style.top = (of.bottom + own.height + 8 < innerHeight ? of.bottom + 4 : Math.max(4, of.top - own.height - 4)) + "px";
  };
  const figure = e => e.target instanceof Element ? e.target.closest(".how") : null;
  document.querySelectorAll(".how").forEach(at => {
    at.dataset.how = at.title;
    at.setAttribute("aria-description", at.title);
    at.removeAttribute("title");
    at.tabIndex = 0;
  });
  for (const [event, act] of [["mouseover", e => show(figure(e))], ["focusin", e => show(figure(e))], ["focusout", () => show(null)],
    ["click", e => show(figure(e))], ["keydown", e => e.key === "Escape" && show(null)], ["scroll", () => shown && show(null)]])
    addEventListener(event, act, {passive: true});

  setTheme(system.matches);
  if (window.Plotly) charts.forEach(box => seen.observe(box));
})();
