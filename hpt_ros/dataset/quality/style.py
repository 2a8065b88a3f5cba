# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The quality page's style sheet; light and dark, wide and narrow."""

STYLE = """
:root{--fg:#1c2630;--quiet:#5c6873;--bg:#f6f7f9;--card:#fff;--line:#dfe4e9;--bar:#4a7fb5;--fill:#c9dcef;
--error:#b3261e;--warning:#9a6200;--note:#2f6db0;--good:#1b7a3d}
@media(prefers-color-scheme:dark){:root{--fg:#e3e8ec;--quiet:#9aa6b1;--bg:#14191e;--card:#1d242b;--line:#36404a;
--bar:#6fa3d8;--fill:#2c4763;--error:#ff8a80;--warning:#f0b357;--note:#86b8ee;--good:#6fcf8f}}
*{box-sizing:border-box}
body{font:15px/1.5 system-ui,sans-serif;color:var(--fg);background:var(--bg);margin:0 auto;max-width:1240px;
padding:24px 16px 48px;overflow-wrap:anywhere}
h1{font-size:24px;line-height:1.25;margin:0}h2{font-size:18px;margin:36px 0 4px}
h3{font-size:14px;margin:0 0 6px}h3 small{font-weight:400;color:var(--quiet)}
p{margin:4px 0 12px}.quiet,.task{color:var(--quiet);font-size:13px}.task{margin:4px 0 0}a{color:var(--note)}
.verdict{font-size:17px;font-weight:600;border-left:6px solid;padding:10px 14px;
background:var(--card);margin:16px 0 12px}
.error{color:var(--error)}.warning{color:var(--warning)}.note{color:var(--note)}.good{color:var(--good)}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(130px,1fr));gap:12px}
.tile{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:8px 14px;font-size:13px}
.tile b{display:block;font-size:24px;line-height:1.2}
.badge{display:inline-block;font-size:11px;font-weight:600;border:1px solid;border-radius:9px;padding:0 7px;
white-space:nowrap;line-height:17px}
.scroll{overflow-x:auto;background:var(--card);border:1px solid var(--line);border-radius:8px;margin:8px 0 12px}
table{border-collapse:collapse;width:100%;font-size:14px;overflow-wrap:normal}
th,td{padding:6px 10px;border-bottom:1px solid var(--line);vertical-align:top;text-align:left}
th{font-weight:600;color:var(--quiet);font-size:12px}tr:last-child td{border-bottom:0}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}td.bad{color:var(--error);font-weight:600}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(220px,1fr));gap:12px;margin-top:10px}
.grid.wide{grid-template-columns:repeat(auto-fill,minmax(270px,1fr))}
.card{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:10px 12px;margin:0;min-width:0}
.card:target{outline:2px solid var(--note)}figcaption{font-size:13px;margin-bottom:6px}
.card ul{margin:6px 0 0;padding:0;list-style:none;font-size:13px}.card li{margin-top:4px}
dl{display:grid;grid-template-columns:auto 1fr;gap:0 8px;margin:6px 0 0;font-size:13px}
dt{color:var(--quiet)}dd{margin:0;text-align:right;font-variant-numeric:tabular-nums}
.strip{display:flex;gap:4px;margin-bottom:6px}.strip img{flex:1 1 0;min-width:0;max-width:50%;border-radius:3px}
svg{display:block;width:100%;max-width:320px;height:auto}svg text{font:11px system-ui,sans-serif;fill:var(--quiet)}
.b{fill:var(--bar)}.r{fill:var(--line)}.f{fill:var(--fill);stroke:var(--bar)}.a{stroke:var(--quiet);fill:none}
.m{stroke:var(--error);fill:none;stroke-dasharray:4 3}
details{margin-top:24px}summary{cursor:pointer;font-size:16px;font-weight:600}
#only:checked~#episodes .fine{display:none}
@media(max-width:640px){.grid,.grid.wide{grid-template-columns:repeat(auto-fill,minmax(200px,1fr))}
.stack thead{display:none}.stack tr{display:block;border-bottom:1px solid var(--line);padding:8px 0}
.stack td{display:block;border:0;padding:1px 12px}.stack td.n{text-align:left}.stack td.n::after{content:" times"}}
@media print{details{display:none}.card{break-inside:avoid}}
"""
