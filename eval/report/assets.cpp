#include "eval/report/assets.h"

namespace assay::eval::report {

const char* const kStyle = R"css(
:root{color-scheme:light dark;--ink:#1d2126;--soft:#5c6570;--line:#d9dde2;--faint:#f5f6f8;--page:#fff;--accent:#2f6fae;
--good:#23784a;--bad:#b3372f;--warn:#8a5a00;--warnbg:#fdf4e1}
@media (prefers-color-scheme:dark){:root{--ink:#e4e7ea;--soft:#9ba5b0;--line:#363c44;--faint:#1e2227;--page:#15181c;
--accent:#7db4e8;--good:#62c08d;--bad:#ee8980;--warn:#e4b765;--warnbg:#2b2417}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--page);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",sans-serif}
main{max-width:1120px;margin:0 auto;padding:40px 24px 80px}
h1{font-size:1.75rem;line-height:1.25;margin:0 0 .3em;font-weight:650;letter-spacing:-.01em;overflow-wrap:anywhere}
h2{font-size:1.3rem;line-height:1.3;margin:2.6em 0 .5em;padding-top:1.1em;border-top:1px solid var(--line);font-weight:640}
h3{font-size:1.02rem;margin:1.9em 0 .5em;font-weight:640}
p{margin:.5em 0 .9em;max-width:76ch;overflow-wrap:anywhere}
.lead{color:var(--soft);margin-bottom:1.4em}
.question{font-style:italic;color:var(--soft);border-left:3px solid var(--line);padding-left:14px}
.verdict{border-left:3px solid var(--accent);background:var(--faint);padding:10px 14px;max-width:none}
.verdict.lost,.notice{border-left:3px solid var(--warn);background:var(--warnbg);padding:10px 14px;max-width:none}
.small{font-size:.86rem;color:var(--soft);max-width:110ch}
.scroll{overflow-x:auto;margin:.9em 0 1.2em}
table{border-collapse:collapse;font-size:.88rem;line-height:1.4;font-variant-numeric:tabular-nums;width:100%}
caption{text-align:left;color:var(--soft);padding-bottom:6px;font-size:.86rem}
th,td{padding:6px 14px 6px 0;text-align:left;vertical-align:top;border-bottom:1px solid var(--line);white-space:nowrap}
th:last-child,td:last-child{padding-right:0}
td.wrap{white-space:normal;min-width:14em;overflow-wrap:anywhere}
th.wrap{white-space:normal;min-width:7em;overflow-wrap:anywhere}
.scroll th:first-child,.scroll td:first-child{position:sticky;left:0;background:var(--page)}
thead th{font-weight:600;border-bottom:1.5px solid var(--soft);vertical-align:bottom}
td.num,th.num{text-align:right}
td.mono{font-family:ui-monospace,monospace;font-size:.92em}
td .note,th .note{display:block;color:var(--soft);font-size:.88em;font-weight:400}
td.name{font-weight:600;white-space:normal;overflow-wrap:anywhere;min-width:11em}
tr:has(td.control){color:var(--soft)}
.pass{color:var(--good);font-weight:600}.fail{color:var(--bad);font-weight:600}
figure{margin:.6em 0 .2em;min-width:0;overflow-x:auto}
.cell{min-width:0}
figure .title{font-size:.9rem;font-weight:600;margin:0 0 4px;overflow-wrap:anywhere}
.chart{width:100%;min-height:60px}
.chart.vega-embed.has-actions{padding-right:0;display:block}
.chart.vega-embed summary{opacity:.25;background:none;box-shadow:none;border-color:var(--line);top:-26px}
.chart.vega-embed:hover summary{opacity:.8}
.grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,460px),1fr));gap:18px 40px;align-items:start}
.caption{font-size:.86rem;color:var(--soft);max-width:110ch;margin:.6em 0 1.4em}
.caption b{color:var(--ink);font-weight:600}
details{margin:.7em 0}
details>summary{cursor:pointer;color:var(--accent);font-size:.93rem}
pre{font-size:.8rem;overflow:auto;max-height:360px;background:var(--faint);padding:10px 12px}
.error{color:var(--bad);font-size:.9rem;padding:10px 0}
@media (max-width:640px){main{padding:24px 16px 60px}h1{font-size:1.4rem}th,td{padding-right:12px}
th{white-space:normal}td.name,th.wrap{min-width:5em}td.wrap{min-width:9em}
.scroll td.name:first-child{min-width:7.5em;max-width:10em}}
@media print{main{max-width:none;padding:0}h2{break-after:avoid}figure{break-inside:avoid}.vega-embed summary{display:none}}
)css";

const char* const kScript = R"js(
(function () {
  var specs = JSON.parse(document.getElementById('assay-charts').textContent);
  var dark = matchMedia('(prefers-color-scheme: dark)').matches;
  var options = {ast: true, renderer: 'svg', tooltip: {theme: dark ? 'dark' : 'light'},
    actions: {export: {svg: true, png: true}, source: false, compiled: false, editor: false}};
  var jobs = specs.map(async function (spec, i) {
    var place = document.getElementById('chart-' + i);
    try {
      await vegaEmbed(place, spec, options);
      place.dataset.state = 'drawn';
    } catch (error) {
      place.dataset.state = 'failed';
      place.className = 'error';
      place.textContent = 'This chart could not be drawn: ' + error.message;
    }
  });
  Promise.all(jobs).then(function () { document.body.dataset.charts = 'done'; });
})();
)js";

}  // namespace assay::eval::report
