-- A host that runs short of descriptors, memory or time: what it does about it, that it says so, and that it recovers.
local json = require "cjson"
local socket = require "socket"
local support = require "tests.e2e.support"

local sanitized = support.shell(support.quote(support.bin) .. " version"):find("sanitizers", 1, true) ~= nil

local handler = [[
local weir = require "weir"
local kept = {}
return function(req)
    local n = tonumber(req.path:match "^/keep/(%d+)")
    if n then
        for _ = 1, n do kept[#kept + 1] = ("x"):rep(1 << 20) .. #kept end
    elseif req.path == "/litter" then
        local t = {}
        for i = 1, 64 do t[i] = ("y"):rep(1 << 20) .. i end
    elseif req.path == "/forget" then
        kept = {}
    elseif req.path == "/burn" then
        local stop = weir.now() + 0.3
        while weir.now() < stop do end
    end
    req:reply(200, req.class .. "\n")
end
]]

local function application(overload, slice)
    return {
        ["app.lua"] = handler,
        ["weir.yaml"] = [[
weir: 1
classes: [gold, normal, bulk]
]] .. (overload and "overload: " .. overload .. "\n" or "") .. [[
pools: {main: {threads: 1}}
stages:
  gold: {source: http, listen: "127.0.0.1:0", class: gold, header_timeout: 60s, to: page}
  bulk: {source: http, listen: "127.0.0.1:0", class: bulk, to: page}
  page: {handler: app.lua, limits: {memory: 256MiB, slice: ]] .. (slice or "10ms") .. ", stall: 5s, cpu: 10s, wall: 20s}}\n",
    }
end

describe("overload", function()
    local host, conns

    before_each(function() conns = {} end)

    after_each(function()
        for _, c in ipairs(conns) do c:close() end
        local status = host and host:stop()
        local said = host and host:stderr() or ""
        support.clean()
        host = nil
        assert.is_true(status == nil or status == 0, said) -- nil: nothing ran
        assert.is_nil(said:find("Sanitizer", 1, true), said)
    end)

    local function weir(arguments)
        local text = support.shell(("XDG_RUNTIME_DIR=%s/../run %s %s 2>&1"):format(host.folder, support.quote(support.bin), arguments))
        return text
    end

    local function stats() return json.decode(weir "stats --json") end
    local function actions() return stats().overload.actions end

    local function await(seconds, what, done)
        return support.wait(seconds, what, function()
            socket.sleep(0.05)
            return done()
        end)
    end

    -- Descriptors: at most `limit`, soft and hard.
    local function start_limited(files, limit)
        local folder = support.tempdir()
        for name, text in pairs(files) do support.write(folder .. "/app/" .. name, text) end
        assert(os.execute("mkdir -m 700 " .. folder .. "/run"))
        local server = support.start_command(("cd %s/app && ulimit -n %d && exec env XDG_RUNTIME_DIR=%s/run %s run"):format(
            folder, limit, folder, support.quote(support.bin)))
        server.folder = folder .. "/app"
        return server
    end

    local function port(i) return tonumber(host.urls[i]:match ":(%d+)$") end

    local function dial(i)
        local c = assert(socket.connect("127.0.0.1", port(i)))
        c:settimeout(10)
        conns[#conns + 1] = c
        return c
    end

    -- Status, headers as text; the body is read.
    local function ask(c, path)
        assert(c:send("GET " .. (path or "/") .. " HTTP/1.1\r\nHost: x\r\n\r\n"))
        local line, err = c:receive "*l"
        if not line then return nil, err end
        local head = {}
        for text in function() return c:receive "*l" end do
            if text == "" then break end
            head[#head + 1] = text
        end
        local headers = table.concat(head, "\n"):lower()
        c:receive(tonumber(headers:match "content%-length: (%d+)") or 0)
        return tonumber(line:match "^HTTP/1.1 (%d+)"), headers
    end

    -- Opens connections that say nothing until `done()`.
    local function fill(i, most, done)
        for _ = 1, most do
            if done() then return end
            dial(i)
            socket.sleep(0.06) -- it is counted within 50 ms
        end
        assert(done(), json.encode(stats().overload))
    end

    it("is nothing while there is room for everything", function()
        host = support.start(application())
        await(5, "a first look", function() return stats().overload.pressure.memory end)
        local o = stats().overload
        for name, level in pairs(o.actions) do assert.are.equal(0, level, name) end
        assert.is_true(o.pressure.memory.used > 1e6 and o.pressure.memory.pressure < 0.8)
        assert.is_true(o.pressure.descriptors.used >= 5)
        assert.is_nil(weir "stats":find("overload", 1, true))
        local socket_path = support.shell("ls " .. host.folder .. "/../run/weir/*.sock"):match "%S+"
        local metrics = support.curl("--unix-socket " .. support.quote(socket_path) .. " http://weir/metrics")
        assert.truthy(metrics:find('\nweir_overload_action{action="shed"} 0\n', 1, true), metrics)
        assert.truthy(metrics:find('\nweir_overload_pressure{resource="descriptors"} 0', 1, true))
    end)

    it("of descriptors ends keep-alive, then refuses low classes, then accepts nothing, and passes", function()
        host = start_limited(application(), 100)
        local gold, bulk = dial(1), dial(2)
        local status, headers = ask(gold)
        assert.are.equal(200, status)
        assert.is_nil(headers:find("connection: close", 1, true))
        assert.are.equal(200, (ask(bulk)))

        fill(1, 90, function() return actions().close == 1 end)
        bulk = dial(2)
        status, headers = ask(bulk)
        assert.are.equal(200, status)
        assert.truthy(headers:find("connection: close", 1, true))
        assert.is_nil(bulk:receive(1), "the connection stays open")
        assert.is_nil(gold:receive(1), "an idle connection stays open")

        gold, bulk = dial(1), dial(2)
        fill(1, 90, function() return actions().shed > 0 end)
        status, headers = ask(bulk)
        assert.are.equal(503, status)
        assert.truthy(headers:find("connection: close", 1, true))
        assert.are.equal(200, (ask(gold)))
        local page = stats().stages.page
        assert.are.equal(1, page.reasons.rejected.overload)
        assert.are.equal(page.ledger.offered, page.ledger.accepted + page.ledger.rejected)
        assert.truthy(weir "stats":find("overload  memory", 1, true))

        gold = dial(1)
        fill(1, 90, function() return actions().stop == 1 end)
        assert.are.equal(2, actions().shed)
        assert.are.equal(200, (ask(gold)), "what is connected is served")
        local late = dial(1) -- the system accepts it, weir does not
        late:settimeout(0.5)
        assert.is_nil((ask(late)))

        for i = 1, #conns do if conns[i] ~= late then conns[i]:close() end end
        late:settimeout(10)
        local line = late:receive "*l"
        assert.truthy(line and line:find("200", 1, true), "it waited, and is served")
        await(10, "recovery", function()
            local a = actions()
            return a.close + a.shed + a.stop + a.collect == 0
        end)
        status, headers = ask(dial(2))
        assert.are.equal(200, status)
        assert.is_nil(headers:find("connection: close", 1, true))

        local seen = {}
        for text in weir("events --once --json"):gmatch "[^\n]+" do
            local e = json.decode(text)
            seen[e.path .. (e.to > e.from and " up" or " down")] = e
        end
        for _, action in ipairs {"close", "shed", "stop"} do
            local up, down = seen["overload." .. action .. " up"], seen["overload." .. action .. " down"]
            assert.are.equal("descriptors run short", up.rule)
            assert.are.equal("descriptors recede", down.rule)
            assert.truthy(up.text:find("^descriptors at %d+ %% %(%d+ of 100%)$"), up.text)
        end
        assert.truthy(host:stderr():find("accepting no connections", 1, true))
    end)

    it("survives that no descriptor is left at all", function()
        host = start_limited(application "off", 60)
        for _ = 1, 80 do dial(1) end
        socket.sleep(0.3)
        local n = 0
        for i = 1, 10 do n = n + (ask(conns[i]) == 200 and 1 or 0) end
        assert.are.equal(10, n)
        for _, c in ipairs(conns) do c:close() end
        await(10, "an answer", function()
            local c = dial(1)
            return ask(c) == 200
        end)
    end)

    it("of memory collects garbage, makes batches smaller and refuses low classes", function()
        if sanitized then
            return pending "a sanitizer keeps what is freed"
        end
        host = support.start(application("{memory: {limit: 200MiB, stop: off}, lag: off}"))
        local gold, bulk = dial(1), dial(2)
        assert.are.equal(200, (ask(bulk)))
        -- garbage alone is collected
        for _ = 1, 3 do assert.are.equal(200, (ask(gold, "/litter"))) end
        await(20, "memory given back", function() return stats().overload.pressure.memory.pressure < 0.6 end)
        -- what is kept is not
        local level = 0
        for _ = 1, 40 do
            gold = dial(1)
            assert.are.equal(200, (ask(gold, "/keep/5")))
            level = stats().overload.actions.shed
            if level > 0 then break end
            socket.sleep(0.1)
        end
        assert.is_true(level > 0)
        assert.are.equal(1, actions().collect)
        assert.is_true(actions().shrink >= 1)
        assert.are.equal(503, (ask(dial(2))))
        assert.are.equal(200, (ask(dial(1))))
        assert.are.equal(200, (ask(dial(1), "/forget")))
        await(30, "recovery", function() return actions().shed == 0 end)
        assert.are.equal(200, (ask(dial(2))))
    end)

    it("of time makes batches smaller, and refuses low classes while that does not help", function()
        host = support.start(application("{lag: {limit: 400ms, shed: 50%}}", "1s"))
        local burning = {}
        for i = 1, 8 do burning[i] = dial(1) end
        local limit, shed = socket.gettime() + 20, 0
        while shed == 0 and socket.gettime() < limit do
            for _, c in ipairs(burning) do c:send "GET /burn HTTP/1.1\r\nHost: x\r\n\r\n" end
            socket.sleep(0.3)
            local o = stats().overload
            shed = o.actions.shed
            if shed > 0 then assert.is_true(o.actions.shrink > 0) end
        end
        assert.is_true(shed > 0)
        await(40, "recovery", function()
            local a = actions()
            return a.shed + a.shrink == 0
        end)
        assert.are.equal(200, (ask(dial(2))))
    end)

    it("can be switched off", function()
        host = support.start(application "off")
        assert.is_nil(stats().overload)
    end)
end)
