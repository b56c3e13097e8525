-- Shared tables and the metrics of scripts, in a running host.
local program = require "tests.e2e.program"
local json = require "cjson"

local app = [[
weir: 1
name: shop
pools: {main: {threads: 4}}
shared:
  counters: {bytes: 1MiB}
  sessions: {bytes: 8KiB, ttl: 10m}
stages:
  web: {source: http, listen: "127.0.0.1:0", to: page}
  page: {handler: page.lua, to: {background: add}}
  add: {handler: add.lua, queue: {overflow: wait}}
]]

local page = [[
local weir = require "weir"
local counters, sessions = weir.shared "counters", weir.shared "sessions"
local hits = weir.counter("hits", {path = "/"}, {help = "Requests for the page."})
local size = weir.gauge "queue_size"
local took = weir.histogram "took_seconds"

return function(req)
    hits:inc()
    took:observe(0.002)
    if req.path == "/add" then
        for _ = 1, 1000 do
            counters:incr "sum"
        end
        weir.emit("background", 1000)
        req:reply(200, "added\n")
    elseif req.path == "/fill" then
        local n, why, ok = 0, nil, true
        while ok do
            ok, why = sessions:set(n, ("x"):rep(50))
            n = n + (ok and 1 or 0)
        end
        size:set(n)
        req:reply(200, why .. "\n")
    elseif req.path == "/wait" then
        local value, why = counters:watch("signal", 20)
        req:reply(200, ("%s %s\n"):format(value, why))
    elseif req.path == "/signal" then
        counters:set("signal", {deep = "value"})
        counters:set("signal", "now")
        req:reply(200, "")
    else
        req:reply(200, ("%d\n"):format(counters:get "sum"))
    end
end
]]

local add = [[
local weir = require "weir"
return function(n)
    for _ = 1, n do
        weir.shared "counters":incr "sum"
    end
end
]]

describe("shared tables", function()
    local place

    before_each(function()
        place = program.place()
        place:write("weir.yaml", app)
        place:write("page.lua", page)
        place:write("add.lua", add)
    end)

    after_each(function()
        program.clean()
    end)

    local function ask(path)
        return program.curl(("--unix-socket %s/weir/shop.sock 'http://localhost%s'"):format(place.runtime, path))
    end

    it("lose no increment of any worker or stage", function()
        local host = place:start {}
        program.shell(("seq 200 | xargs -P 8 -I{} curl -s -o /dev/null %s/add"):format(host.url))
        program.wait(20, "the background increments", function()
            return program.curl(host.url .. "/sum") == "400000\n"
        end)
    end)

    it("refuse what does not fit, and tell of it in stats and metrics", function()
        local host = place:start {}
        assert.are.equal("full\n", (program.curl(host.url .. "/fill")))
        program.curl(host.url .. "/add")
        local stats = json.decode((ask("/v1/stats")))
        local sessions = stats.shared.sessions
        assert.are.equal(8192, sessions.limit_bytes)
        assert.is_true(sessions.bytes <= 8192 and sessions.bytes > 7900, sessions.bytes)
        assert.are.equal(1, sessions.refused)
        assert.are.equal(sessions.entries, stats.metrics.queue_size.series[1].value)
        assert.are.same({type = "counter", series = {{labels = {path = "/"}, value = 2}}}, stats.metrics.hits_total)
        local text = ask("/metrics")
        assert.is_truthy(text:find(('weir_shared_entries{table="sessions"} %d\n'):format(sessions.entries), 1, true))
        assert.is_truthy(text:find('# HELP hits_total Requests for the page.\n# TYPE hits_total counter\n'
            .. 'hits_total{path="/"} 2\n', 1, true))
        assert.is_truthy(text:find('took_seconds_bucket{le="0.0025"} 2\n', 1, true))
        program.write(place.root .. "/metrics", text)
        local said, code = program.shell(("promtool check metrics <%s/metrics 2>&1"):format(place.root))
        assert.are.equal("", said)
        assert.are.equal(0, code)
    end)

    it("wake those who watch, on other workers too", function()
        local host = place:start {}
        program.shell(("for i in 1 2 3 4 5 6; do curl -s -m 30 %s/wait >%s/answer$i & done"):format(host.url, place.root))
        program.wait(10, "the watches", function()
            return json.decode((ask("/v1/stats"))).stages.page.ledger.running == 6
        end)
        program.curl(host.url .. "/signal")
        for i = 1, 6 do
            program.wait(10, "the answer", function()
                local answer = program.read(("%s/answer%d"):format(place.root, i))
                return answer and #answer > 0
            end)
            assert.is_truthy(program.read(("%s/answer%d"):format(place.root, i)):match("^now nil\n$")
                or program.read(("%s/answer%d"):format(place.root, i)):match("^table"))
        end
    end)

    it("must be declared, which check says before anything runs", function()
        place:write("add.lua", 'local t = require("weir").shared "sesions"\nreturn function() t:clear() end\n')
        local status, _, said = place:weir {"check"}
        assert.are.equal(78, status)
        assert.is_truthy(said:find("add.lua:1: weir.shared: there is no shared table 'sesions'; weir.yaml declares "
            .. "'counters', 'sessions'; did you mean 'sessions'?", 1, true), said)
    end)

    it("are counted in what check says of memory", function()
        local status, said = place:weir {"check"}
        assert.are.equal(0, status)
        assert.is_truthy(said:match("in queues, 1[%d.]*MiB in shared tables\n"), said)
    end)

    it("need no declaration in a single file", function()
        place:write("hello.lua", 'local t = require("weir").shared "any"\n'
            .. "return function(req) req:reply(200, t:incr(1) .. '\\n') end\n")
        local host = place:start {"hello.lua", "--listen", "127.0.0.1:0"}
        assert.are.equal("1\n", (program.curl(host.url .. "/")))
        assert.are.equal("2\n", (program.curl(host.url .. "/")))
    end)
end)
