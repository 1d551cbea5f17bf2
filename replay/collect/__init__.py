"""Data from a broker: history that is downloaded, and the present that is recorded. Both end in sessions.

- `asked`: what is asked for, and the spans of time it is fetched in;
- `parts`: the folder of a download: one file a symbol and span, and what is already there;
- `asking`: requests under a rate limit, tried again where that may help;
- `alpaca`, `exchanges` (by ccxt): where history comes from; `download`: from the first request to the session; `columns`: parts as an import's columns;
- `raw`: what a socket said, as it came; `tap`: the SDK's stream, overheard; `record`: a day after the other; `days`: raw frames as a session.
"""
