-- The template of /weir (template.lua has the rules).
return [[
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="refresh" content="1">
<title>haboob: queues</title>
<style>body { font: 0.95rem/1.6 system-ui, sans-serif; margin: 2rem }
table { border-collapse: collapse } td, th { text-align: right; padding: 0 0.8rem; border-bottom: 1px solid #ddd }
td:first-child, th:first-child { text-align: left } meter { width: 5rem }</style>
<h1>haboob: queues</h1>
<table>
<tr><th>stage<th>queue<th>of<th><th>offered<th>rejected<th>accepted<th>handled<th>failed<th>expired
<th>dropped<th>running<th>waited p50 µs<th>p99 µs<th>per second
{{#rows}}
<tr><td>{{name}}<td>{{depth}}<td>{{capacity}}<td><meter max="100" value="{{fill}}"></meter>
<td>{{offered}}<td>{{rejected}}<td>{{accepted}}<td>{{handled}}<td>{{failed}}<td>{{expired}}<td>{{dropped}}
<td>{{running}}<td>{{wait_p50}}<td>{{wait_p99}}<td>{{rate}}
{{/rows}}
</table>
<p>offered = accepted + rejected; accepted = handled + failed + expired + dropped + waiting in the queue + running.</p>
<p>{{time}}. <a href="/">The files</a> · <a href="/dynamic">A page from a template</a></p>
</html>
]]
