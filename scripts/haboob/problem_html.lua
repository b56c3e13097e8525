-- The template of error pages (template.lua has the rules).
return [[
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>{{status}} {{title}}</title>
<style>body { font: 1rem/1.5 system-ui, sans-serif; max-width: 44rem; margin: 3rem auto; padding: 0 1rem }</style>
<h1>{{status}} {{title}}</h1>
<p>{{text}}</p>
<p><code>{{target}}</code></p>
<p><a href="/">The first page</a></p>
</html>
]]
