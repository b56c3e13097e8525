-- The template of /dynamic (template.lua has the rules).
return [[
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Hello, {{name}}</title>
<style>body { font: 1rem/1.5 system-ui, sans-serif; max-width: 44rem; margin: 3rem auto; padding: 0 1rem }
td, th { text-align: left; padding: 0 1rem 0 0 }</style>
<h1>Hello, {{name}}</h1>
<p>It is {{time}}. Worker {{worker}} made this page {{age_us}} µs after the request had come;
it is number {{made}} of its pages.</p>
<p>You come from {{client}}{{#agent}} with {{agent}}{{/agent}}.</p>
{{#fields}}
<p><b>{{name}}</b> is {{value}}</p>
{{/fields}}
{{^fields}}
<p>Ask with a query, such as <a href="/dynamic?name=Matt">/dynamic?name=Matt</a>.</p>
{{/fields}}
<p><a href="/">The files</a> · <a href="/weir">The queues</a></p>
</html>
]]
