-- Controllers that an application brings itself: they move what they are to move, and one that fails is switched off, loudly.
local json = require "cjson"
local socket = require "socket"
local support = require "tests.e2e.support"

local work = [[
local weir = require "weir"
return function(req)
    local stop = weir.now() + 0.02
    while weir.now() < stop do end
    req:reply(200, "done\n")
end
]]

local yaml = [[
weir: 1
classes: [gold, bulk]
pools: {slow: {threads: {min: 1, max: 5}, blocking: true, controller: {script: policy/grow.lua, interval: 40ms, config: {deep: 3}}}}
stages:
  web: {source: http, listen: "127.0.0.1:0", to: work}
  work: {handler: work.lua, pool: slow, admission: {script: policy/admit.lua, config: {limit: 8}}}
]]

local grow = [[
return {
    settings = {deep = 100},
    step = function(sample, at, state, settings)
        state.steps = (state.steps or 0) + 1
        if sample.depth > settings.deep and at.threads < sample.threads_max then
            at.threads = at.threads + 1
            return "deeper than " .. settings.deep
        elseif sample.depth == 0 and sample.offered == 0 and at.threads > 1 then
            at.threads = at.threads - 1
            return "nothing comes"
        end
    end,
}
]]

local admit = [[
return {settings = {limit = 100}, step = function(sample, at, _, settings)
    assert(sample.classes[1].name == "gold" and sample.classes[2].name == "bulk")
    if at.limit ~= settings.limit then
        at.limit = settings.limit
        return "as configured"
    end
end}
]]

describe("a controller in Lua", function()
    local host

    after_each(function()
        local status = host and host:stop()
        local said = host and host:stderr() or ""
        support.clean()
        host = nil
        assert.is_true(status == nil or status == 0, said) -- nil: nothing ran
        assert.is_nil(said:find("Sanitizer", 1, true), said)
    end)

    local function start(files)
        local all = {["weir.yaml"] = yaml, ["work.lua"] = work, ["policy/grow.lua"] = grow, ["policy/admit.lua"] = admit}
        for name, text in pairs(files or {}) do all[name] = text end
        host = support.start(all)
    end

    local function weir(arguments)
        return (support.shell(("XDG_RUNTIME_DIR=%s/../run %s %s 2>&1"):format(host.folder, support.quote(support.bin), arguments)))
    end

    local function stats() return json.decode(weir "stats --json") end

    local function events()
        local list = {}
        for line in weir("events --once --json"):gmatch "[^\n]+" do list[#list + 1] = json.decode(line) end
        return list
    end

    local function find(path, kind, rule)
        for _, e in ipairs(events()) do
            if e.path == path and e.kind == kind and (not rule or e.rule == rule) then return e end
        end
    end

    -- Requests on `n` connections at once; how many of them were answered 200.
    local function burst(n)
        local port, conns, good = tonumber(host.url:match ":(%d+)$"), {}, 0
        for i = 1, n do
            conns[i] = assert(socket.connect("127.0.0.1", port))
            conns[i]:settimeout(10)
            assert(conns[i]:send "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        end
        for _, c in ipairs(conns) do
            good = good + ((c:receive "*l" or ""):find(" 200 ", 1, true) and 1 or 0)
            c:close()
        end
        return good
    end

    it("sizes a pool and bounds what is admitted", function()
        start()
        local first = support.wait(10, "the limit", function() return find("stages.work.admission", "decision") end)
        assert.are.equal("as configured", first.rule)
        assert.are.equal("admit", first.controller)
        local refused = 0
        for _ = 1, 12 do refused = refused + 30 - burst(30) end
        assert.is_true(refused > 0)
        assert.are.equal(refused, stats().stages.work.reasons.rejected.gate)
        local grew = support.wait(10, "a larger pool", function() return find("pools.slow.threads", "decision", "deeper than 3") end)
        assert.are.equal("grow", grew.controller)
        assert.are.equal(grew.from + 1, grew.to)
        assert.is_true(grew.inputs.depth > 3)
        support.wait(20, "one worker", function() return stats().pools.slow.threads == 1 end)
        assert.truthy(find("pools.slow.threads", "decision", "nothing comes"))
        assert.are.equal(200, select(2, support.curl(host.url)))
    end)

    it("is switched off when it fails, and its knob stays", function()
        start {["policy/grow.lua"] = [[
local steps = 0
return function(sample, at)
    steps = steps + 1
    if steps == 3 then at.threads = 3 return "three" end
    if steps == 6 then error "no idea" end
end
]], ["weir.yaml"] = yaml:gsub(", config: {deep: 3}", "")}
        local problem = support.wait(10, "the failure", function() return find("pools.slow.threads", "problem") end)
        assert.truthy(problem.text:find("policy/grow.lua:5: no idea", 1, true), problem.text)
        assert.are.equal("grow", problem.controller)
        assert.truthy(host:stderr():find("policy/grow.lua:5: no idea", 1, true), host:stderr())
        assert.are.equal(3, stats().pools.slow.threads)
        local count = #events()
        socket.sleep(0.3)
        assert.are.equal(count, #events())
        -- it may be switched on again, from its beginning
        assert.is_nil(weir("set pools.slow.controller.enabled true"):find("error", 1, true))
        support.wait(10, "another failure", function()
            local n = 0
            for _, e in ipairs(events()) do n = n + (e.kind == "problem" and 1 or 0) end
            return n == 2
        end)
        assert.are.equal(200, select(2, support.curl(host.url)))
    end)

    it("that does not end is ended", function()
        start {["policy/admit.lua"] = "return function() while true do end end", ["weir.yaml"] = yaml:gsub(", config: {limit: 8}", "")}
        local problem = support.wait(20, "its end", function() return find("stages.work.admission", "problem") end)
        assert.truthy(problem.text:find("ended: over limits.cpu (5ms)", 1, true), problem.text)
        assert.are.equal(200, select(2, support.curl(host.url)))
    end)

    it("has settings that can be set while it runs", function()
        start()
        local said = weir "set pools.slow.controller.interval 2s"
        assert.is_nil(said:find("error", 1, true), said)
        assert.truthy(find("pools.slow.controller.interval", "set"))
        assert.truthy(weir("set pools.slow.controller.interval soon"):find("duration", 1, true))
    end)

    it("is checked before anything starts", function()
        local folder = support.tempdir()
        local function check(files)
            for name, text in pairs(files) do support.write(folder .. "/" .. name, text) end
            return support.shell(("cd %s && %s check . 2>&1"):format(folder, support.quote(support.bin)))
        end
        local all = {["weir.yaml"] = yaml, ["work.lua"] = work, ["policy/grow.lua"] = grow, ["policy/admit.lua"] = admit}
        local said = check(all)
        assert.truthy(said:find("ok:", 1, true), said)
        said = check {["policy/grow.lua"] = "\nreturn {stp = print}\n"}
        assert.truthy(said:find("policy/grow.lua:2: a controller's file must return a function, or a table with one, `step`", 1, true), said)
        said = check {["policy/grow.lua"] = grow, ["weir.yaml"] = yaml:gsub("deep: 3", "depe: 3")}
        assert.truthy(said:find("the script has no setting 'depe'", 1, true), said)
        said = check {["weir.yaml"] = yaml:gsub("interval: 40ms", "intervall: 40ms")}
        assert.truthy(said:find("did you mean 'interval'?", 1, true), said)
        said = check {["weir.yaml"] = yaml:gsub("policy/grow.lua", "policy/gone.lua")}
        assert.truthy(said:find("policy/gone.lua: No such file", 1, true), said)
    end)
end)
