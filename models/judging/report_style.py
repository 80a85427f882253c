"""How a report looks, light or dark as the reader's system is."""

STYLE = """
:root { color-scheme: light dark; --paper: #f7f6f3; --card: #ffffff; --ink: #1d1c1a; --muted: #6b6862;
  --line: #e4e1db;
  --blue: #2a6fd0; --orange: #dd5f28; --on: #ffffff; }
@media (prefers-color-scheme: dark) { :root { --paper: #151513; --card: #1f1e1c; --ink: #eceae6; --muted: #a3a099;
  --line: #36342f; --blue: #5b9cf0; --orange: #f0874f; --on: #10100e; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 1160px; margin: 0 auto; padding: 32px 20px 48px; }
header p { margin: 4px 0; color: var(--muted); } header b { color: var(--ink); }
h1 { font-size: 27px; margin: 0 0 6px; letter-spacing: -.01em; overflow-wrap: anywhere; }
h2 { font-size: 18px; margin: 0 0 4px; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 20px;
  margin-top: 18px; }
section.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(190px, 1fr)); padding: 0;
  overflow: hidden; }
.tiles div { padding: 14px 16px; display: flex; flex-direction: column; box-shadow: 1px 1px 0 var(--line); }
.tiles strong { font-size: 25px; line-height: 1.25; font-variant-numeric: tabular-nums; font-weight: 600; }
.tiles small { color: var(--muted); font-size: 12.5px; font-variant-numeric: tabular-nums; }
.remarks ul { margin: 0; padding-left: 18px; overflow-wrap: anywhere; }
section.remarks { border-left: 4px solid var(--orange); padding: 12px 20px; }
.hint { color: var(--muted); margin: 0 0 14px; font-size: 13.5px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: 14px; }
td, th { padding: 4px 10px; text-align: right; font-weight: 400; border-bottom: 1px solid var(--line);
  white-space: nowrap; }
th { text-align: left; padding-left: 0; } td.text { text-align: left; white-space: normal; color: var(--muted); }
thead td { color: var(--muted); font-size: 12.5px; } tbody tr:last-child > * { border-bottom: 0; }
td.meter { width: 120px; min-width: 80px; } td.meter i { display: block; height: 8px; border-radius: 4px;
  background: var(--blue);
  } tbody td.meter { background: linear-gradient(var(--line), var(--line)) center/calc(100% - 20px)
  8px no-repeat; }
svg { display: block; max-width: none; } svg text { font-size: 12px; fill: var(--muted); }
svg .end { text-anchor: end; } svg .middle, svg .count { text-anchor: middle; } svg .name { fill: var(--ink); }
.matrix text { font-size: 11.5px; } .matrix .count.on { fill: var(--on); } .matrix .count.off { fill: var(--ink); }
.right { fill: var(--blue); } .wrong { fill: var(--orange); } .empty { fill: var(--line); fill-opacity: .45; }
.grid { stroke: var(--line); } .ideal { stroke: var(--muted); stroke-dasharray: 4 4; } .bar { fill: var(--muted);
  fill-opacity: .45; } polyline { fill: none; stroke-width: 2; stroke-linejoin: round;
  vector-effect: non-scaling-stroke; }
polyline.before { stroke: var(--blue); } polyline.after { stroke: var(--orange); }
circle { stroke: var(--card); stroke-width: 1.5; } circle.before { fill: var(--blue);
  } circle.after { fill: var(--orange); }
.frame { fill: none; stroke: var(--line); } .area { fill: var(--blue); fill-opacity: .14; }
.key { display: inline-block; width: 18px; height: 3px; border-radius: 2px; vertical-align: middle;
  margin: 0 5px 2px 4px; }
.key.before { background: var(--blue); } .key.after { background: var(--orange); }
.figures { display: flex; flex-wrap: wrap; gap: 28px; } .figures figure { margin: 0; flex: 0 1 380px; }
.figures svg { width: 100%; } figcaption { margin-bottom: 6px; font-size: 14px; }
.smalls { display: grid; grid-template-columns: repeat(auto-fill, minmax(118px, 1fr)); gap: 10px; }
.small { width: 100%; max-width: 150px; }
.pairs { columns: 270px; padding: 0; margin: 14px 0 0; list-style: none; font-size: 14px; color: var(--muted); }
.pairs b { color: var(--ink); display: inline-block; min-width: 1.6em; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(250px, 1fr)); gap: 20px; }
.card { margin: 0; min-width: 0; } .card figcaption { white-space: nowrap; overflow: hidden; text-overflow: ellipsis;
  } .card img { width: 100%; height: 96px; display: block; border-radius: 6px 6px 0 0;
  }
.card svg { width: 100%; height: 54px; border: 1px solid var(--line); border-top: 0; }
.card audio { width: 100%; height: 34px; margin-top: 8px; } .card small { color: var(--muted);
  overflow-wrap: anywhere; }
footer { color: var(--muted); font-size: 13px; margin-top: 22px; }
@media print { section { break-inside: avoid; } audio { display: none; } }
"""
