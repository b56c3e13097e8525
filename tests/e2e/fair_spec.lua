-- fair_by: each key its share of a queue; `key:` of sources, which says what the key is; and the place that a higher class takes.
local json = require "cjson"
local socket = require "socket"
local support = require "tests.e2e.support"

local get, connect = support.get, support.connect

local function stats(host)
    local command = "XDG_RUNTIME_DIR=%s/../run %s stats --json"
    return json.decode((support.shell(command:format(host.folder, support.quote(support.bin)))))
end

local function queued(host, n)
    support.wait(10, n .. " queued", function() return stats(host).stages.work.ledger.queued == n end)
end

-- Calls wait for /go, one at a time; then each tells its key, and in which order it came.
local work = [[
local weir = require "weir"
local signals = weir.shared "signals"
return function(req)
    while not signals:get "go" do
        weir.sleep(0.01)
    end
    req:reply(200, ("%d %s"):format(signals:incr "turn", tostring(weir.meta().key)))
end
]]
local go = [[
local weir = require "weir"
return function(req)
    weir.shared "signals":set("go", true)
    req:reply(204)
end
]]

local function start(source, queue, files)
    files = files or {}
    files["weir.yaml"] = ([[
weir: 1
classes: [gold, bulk]
pools: {main: {threads: 1}}
shared: {signals: {}}
stages:
  web: {source: http, listen: "127.0.0.1:0", to: first, %s}
  first: {handler: first.lua, to: work}
  work: {handler: work.lua, queue: %s, concurrency: 1}
  control: {source: http, listen: "127.0.0.1:0", to: go}
  go: {handler: go.lua}
]]):format(source, queue)
    files["first.lua"] = files["first.lua"] or "local weir = require 'weir'\nreturn function(req) weir.emit('out', req) end\n"
    files["work.lua"], files["go.lua"] = work, go
    return support.start(files)
end

-- Clients whose requests are sent one after the other, with these headers; each is at rest before the next.
local function send(host, headers)
    local clients = {}
    for i, header in ipairs(headers) do
        clients[i] = connect(host.port)
        clients[i]:send(get("/", header))
        support.wait(10, "request " .. i, function()
            local l = stats(host).stages.work.ledger
            return l.running + l.queued + l.rejected + l.dropped >= i
        end)
    end
    return clients
end

local function let_go(host)
    assert.are.equal(204, support.ask(tonumber(host.urls[2]:match(":(%d+)$")), get("/go")).status)
end

local function answers(clients)
    local list = {}
    for i, client in ipairs(clients) do
        local answer = client:answer()
        list[i] = answer.status == 200 and answer.body or tostring(answer.status)
    end
    return list
end

describe("a fair queue", function()
    after_each(support.clean)

    it("takes keys in turn and refuses who holds as much as is left", function()
        local host = start("key: {header: X-Tenant}", "{capacity: 4, fair_by: key}")
        local a, b = "X-Tenant: a", "X-Tenant: b"
        local clients = send(host, {a, a, a, a, a, b})
        queued(host, 3)
        let_go(host)
        assert.are.same({"1 a", "2 a", "4 a", "503", "503", "3 b"}, answers(clients))
        local ledger = stats(host).stages.work
        assert.are.equal(2, ledger.reasons.rejected.share)
        assert.are.equal(6, ledger.ledger.offered)
    end)

    it("has one share for all that have no key", function()
        local host = start("class: gold", "{capacity: 2, fair_by: key}")
        local clients = send(host, {"A: 1", "A: 2", "A: 3"})
        let_go(host)
        assert.are.same({"1 nil", "2 nil", "503"}, answers(clients))
    end)

    it("gives the oldest of the same key away where that is asked for", function()
        local host = start("key: {header: X-Tenant}", "{capacity: 4, fair_by: key, overflow: drop_oldest}")
        local a, b = "X-Tenant: a", "X-Tenant: b"
        local clients = send(host, {a, b, a, a, a})
        let_go(host)
        assert.are.same({"1 a", "2 b", "503", "3 a", "4 a"}, answers(clients))
    end)

    it("can be by a field, and by the connection", function()
        local host = start("class: gold", "{capacity: 4, fair_by: user}", {["first.lua"] = [[
local weir = require "weir"
return function(req)
    weir.emit("out", {user = req.path, n = 1})
    weir.emit("out", {user = req.path, n = 2})
    weir.emit("out", {user = req.path, n = 3})
    weir.emit("out", {user = req.path, n = 4})
    req:reply(200, "sent")
end]]})
        assert.are.equal("sent", support.ask(host.port, get("/a")).body)
        local reasons = stats(host).stages.work.reasons
        assert.are.equal(2, (reasons.rejected or {}).share or 0)
    end)

    it("gives who comes while a call runs the next turn", function()
        local host = support.start {["weir.yaml"] = [[
weir: 1
pools: {main: {threads: 1}, side: {threads: 1}}
shared: {signals: {}}
stages:
  web: {source: http, listen: "127.0.0.1:0", key: {header: X-Tenant}, to: work}
  work: {handler: work.lua, queue: {fair_by: key}, batch: 1, limits: {slice: 20s, stall: 30s, cpu: 30s}}
  control: {source: http, listen: "127.0.0.1:0", pool: side, to: go}
  go: {handler: go.lua, pool: side}
]], ["go.lua"] = go, ["work.lua"] = [[
local weir = require "weir"
local signals = weir.shared "signals"
return function(req)
    local turn = signals:incr "turn"
    while not signals:get "go" do end
    req:reply(200, ("%d %s"):format(turn, weir.meta().key))
end
]]}
        local function ask(tenant)
            local client = connect(host.port)
            client:send(get("/", "X-Tenant: " .. tenant))
            return client
        end
        local run = ("XDG_RUNTIME_DIR=%s/../run %s queue "):format(host.folder, support.quote(support.bin))
        support.shell(run .. "pause work")
        local clients = {ask "a", ask "a", ask "a"}
        queued(host, 3)
        support.shell(run .. "resume work")
        support.wait(10, "a call", function() return stats(host).stages.work.ledger.running == 1 end)
        clients[4] = ask "b" -- its worker is busy: it sees it after the call
        let_go(host)
        assert.are.same({"1 a", "3 a", "4 a", "2 b"}, answers(clients))
    end)

    it("says what can't be had together", function()
        local folder = support.tempdir()
        local function check(source, queue)
            support.write(folder .. "/a.lua", "return function() end")
            support.write(folder .. "/weir.yaml", ([[
weir: 1
stages:
  web: {source: http, listen: ":0", to: a, %s}
  a: {handler: a.lua, queue: %s}
]]):format(source, queue))
            return (support.shell(("%s check %s 2>&1"):format(support.quote(support.bin), folder)))
        end
        assert.matches("ok: 2 stages", check("key: client", "{fair_by: key}"))
        assert.matches("weir.yaml:4:.*'fair_by: key' can't be had together with 'order_by: user'",
            check("key: client", "{fair_by: key, order_by: user}"))
        assert.matches("'key' is empty", check("key: {}", "{fair_by: key}"))
        assert.matches("'header': 'no header' is no header's name", check("key: {header: no header}", "{fair_by: key}"))
        assert.matches("weir.yaml:3:.*'key': expected client, found 'address'", check("key: address", "{fair_by: key}"))
    end)
end)

describe("the key of a source's events", function()
    after_each(support.clean)

    it("is the client's address, also for who has no such header", function()
        for _, key in ipairs{"key: client", "key: {header: X-Tenant}"} do
            local host = start(key, "{capacity: 4}")
            let_go(host)
            assert.are.equal("1 127.0.0.1", support.ask(host.port, get("/")).body)
        end
    end)

    it("is inherited by what a handler emits, unless that has one of its own", function()
        local host = start("key: {header: x-tenant}", "{capacity: 4}", {["first.lua"] = [[
local weir = require "weir"
return function(req)
    weir.emit("out", req, req.query == "own" and {key = 7} or nil)
end]]})
        let_go(host)
        assert.are.equal("1 blue", support.ask(host.port, get("/", "X-Tenant:  blue ")).body)
        assert.are.equal("2 7", support.ask(host.port, get("/?own", "X-Tenant: blue")).body)
    end)

    it("is there for tcp and udp", function()
        local host = support.start{["weir.yaml"] = [[
weir: 1
stages:
  lines: {source: tcp, listen: "127.0.0.1:0", framing: line, key: client, to: print}
  packets: {source: udp, listen: "127.0.0.1:0", key: client, to: print}
  print: {handler: print.lua, queue: {fair_by: key}}
]], ["print.lua"] = [[
local weir = require "weir"
return function(event) weir.log.info(event .. " of " .. tostring(weir.meta().key)) end
]]}
        local tcp = assert(socket.connect("127.0.0.1", tonumber(host.urls[1]:match(":(%d+)$"))))
        tcp:send("a line\n")
        local udp = assert(socket.udp())
        udp:sendto("a datagram", "127.0.0.1", tonumber(host.urls[2]:match(":(%d+)$")))
        support.wait(10, "both", function()
            local text = host:stderr()
            return text:find("a line of 127.0.0.1", 1, true) and text:find("a datagram of 127.0.0.1", 1, true)
        end)
        tcp:close()
    end)
end)

describe("a full queue with order: class", function()
    after_each(support.clean)

    it("gives the place of the newest of the lowest class to a higher one", function()
        local host = start("class: {header: X-Class}", "{capacity: 2, order: class}")
        local gold, bulk = "X-Class: gold", "X-Class: bulk"
        local clients = send(host, {bulk, bulk, bulk, gold, bulk, gold, gold})
        local stage = stats(host).stages.work
        assert.are.equal(2, stage.reasons.dropped.displaced)
        assert.are.equal(2, stage.reasons.rejected.full)
        let_go(host)
        assert.are.same({"1 nil", "503", "503", "2 nil", "503", "3 nil", "503"}, answers(clients))
    end)
end)
