-- Deadlines: set by the source or by a header, inherited, and what is late costs nothing.
local json = require "cjson"
local socket = require "socket"
local support = require "tests.e2e.support"

local get, ask = support.get, support.ask

local function stats(host)
    local command = "XDG_RUNTIME_DIR=%s/../run %s stats --json"
    return json.decode((support.shell(command:format(host.folder, support.quote(support.bin)))))
end

local function start(source, stages, files)
    files["weir.yaml"] = ([[
weir: 1
pools: {main: {threads: 1}}
stages:
  web: {source: http, listen: "127.0.0.1:0", to: page, %s}
%s]]):format(source, stages)
    return support.start(files)
end

local tell = [[
local weir = require "weir"
return function(req)
    local left = weir.meta().deadline
    req:reply(200, left and ("%.3f"):format(left) or "none")
end
]]

describe("deadline_header", function()
    after_each(support.clean)

    it("gives a request its milliseconds, and the least of it and `deadline` holds", function()
        local host = start("deadline: 2s, deadline_header: X-Deadline-Ms", "  page: {handler: page.lua}\n", {["page.lua"] = tell})
        local function left(...)
            return tonumber(ask(host.port, get("/", ...)).body)
        end
        assert.is_true(left() > 1 and left() <= 2)
        assert.is_true(left("X-Deadline-Ms: 700") <= 0.7)
        assert.is_true(left("x-deadline-ms: 60000") > 1)
        assert.is_true(left("X-Deadline-Ms: 60000") <= 2)
    end)

    it("gives one where the source has none", function()
        local host = start("deadline_header: X-Deadline-Ms", "  page: {handler: page.lua}\n", {["page.lua"] = tell})
        assert.are.equal("none", ask(host.port, get("/")).body)
        assert.is_true(tonumber(ask(host.port, get("/", "X-Deadline-Ms: 900")).body) <= 0.9)
    end)

    it("that is no number is ignored, counted and told", function()
        local host = start("deadline_header: X-Deadline-Ms", "  page: {handler: page.lua}\n", {["page.lua"] = tell})
        for _, value in ipairs {"soon", "-5", "1.5", "", "99999999999", "5 6", "0x10"} do
            assert.are.equal("none", ask(host.port, get("/", "X-Deadline-Ms: " .. value)).body, value)
        end
        assert.are.equal(7, stats(host).stages.web.http.deadline_ignored)
        local _, lines = host:stderr():gsub("is no number of milliseconds", "")
        assert.is_true(lines >= 1 and lines <= 3, host:stderr())
    end)

    it("answers 504 when it passes, in the queue, running or suspended, before a longer one of another request", function()
        local host = start("deadline: 5s, deadline_header: X-Deadline-Ms", "  page: {handler: page.lua, concurrency: 1}\n",
            {["page.lua"] = [[
local weir = require "weir"
return function(req)
    weir.sleep(1)
    req:reply(200, "done")
end
]]})
        local first, second = support.connect(host.port), support.connect(host.port)
        first:send(get("/"))
        socket.sleep(0.1)
        second:send(get("/", "X-Deadline-Ms: 200"))
        local before = socket.gettime()
        assert.are.equal(504, second:answer().status)
        assert.is_true(socket.gettime() - before < 0.7)
        assert.are.equal("done", first:answer().body)
        before = socket.gettime()
        assert.are.equal(504, ask(host.port, get("/", "X-Deadline-Ms: 150")).status)
        assert.is_true(socket.gettime() - before < 0.7)
    end)

    it("of nothing left is answered 504 at once, and no handler sees the request", function()
        local host = start("deadline_header: X-Deadline-Ms", "  page: {handler: page.lua}\n", {["page.lua"] = tell})
        for _ = 1, 3 do
            assert.are.equal(504, ask(host.port, get("/", "X-Deadline-Ms: 0")).status)
        end
        local ledger = stats(host).stages.page.ledger
        assert.are.equal(3, ledger.rejected)
        assert.are.equal(0, ledger.accepted)
    end)

    it("of many requests at once, each its own", function()
        local host = start("deadline: 3s, deadline_header: X-Deadline-Ms", "  page: {handler: page.lua}\n", {["page.lua"] = [[
local weir = require "weir"
return function(req)
    weir.sleep(tonumber(req.query))
    req:reply(200, "done")
end
]]})
        local clients = {}
        for i = 1, 40 do
            local client = support.connect(host.port)
            client:send(get("/?" .. (i % 2 == 0 and "0.05" or "2"), "X-Deadline-Ms: " .. (200 + 7 * i)))
            clients[i] = client
        end
        for i, client in ipairs(clients) do
            assert.are.equal(i % 2 == 0 and 200 or 504, client:answer().status)
            client:close()
        end
        assert.are.equal(0, host:stop())
    end)
end)

describe("what is late", function()
    after_each(support.clean)

    it("is dropped in the queue before it costs", function()
        local host = start("deadline: 300ms", "  page: {handler: page.lua, concurrency: 1}\n", {["page.lua"] = [[
local weir = require "weir"
return function(req)
    local until_ = weir.now() + 0.5
    while weir.now() < until_ do end
    req:reply(200, "done")
end
]]})
        local clients = {}
        for i = 1, 10 do
            clients[i] = support.connect(host.port)
            clients[i]:send(get("/"))
        end
        for _, client in ipairs(clients) do
            assert.are.equal(504, client:answer().status)
            client:close()
        end
        support.wait(10, "the end of what was begun", function()
            local l = stats(host).stages.page.ledger
            return l.running == 0 and l.queued == 0
        end)
        local ledger = stats(host).stages.page.ledger
        assert.are.equal(10, ledger.accepted)
        assert.are.equal(9, ledger.expired) -- the first one was running, and could not know
        assert.are.equal(1, ledger.handled)
    end)

    it("begins no call to others", function()
        local port = support.free_port()
        local host = support.start{["weir.yaml"] = ([[
weir: 1
pools: {main: {threads: 1}}
stages:
  web: {source: http, listen: "127.0.0.1:0", to: page, deadline: 300ms}
  back: {source: http, listen: "127.0.0.1:%d", to: other}
  page: {handler: page.lua, libs: all, config: {port: %d}, to: {out: out}}
  other: {handler: other.lua}
  out: {sink: stdout}
]]):format(port, port), ["other.lua"] = "return function(req) req:reply(200, 'back') end\n", ["page.lua"] = [[
local weir = require "weir"
local M = {}
function M.init(ctx) M.port = ctx.config.port end
function M.handle(req)
    local until_ = weir.now() + 0.5
    while weir.now() < until_ do end
    local found = {}
    for name, f in pairs{
        http = function() return weir.http.request{url = "http://127.0.0.1:" .. M.port .. "/"} end,
        tcp = function() return weir.tcp.connect("127.0.0.1:" .. M.port) end,
        dns = function() return weir.dns.resolve("localhost") end,
        spawn = function() return weir.spawn{cmd = "true"} end,
    } do
        local ok, why, code = f()
        found[#found + 1] = name .. "=" .. tostring(ok) .. "/" .. tostring(code)
    end
    table.sort(found)
    weir.log.warn("late: " .. table.concat(found, " "))
end
return M
]]}
        assert.are.equal(504, ask(host.port, get("/")).status)
        support.wait(10, "what the calls said", function()
            return host:stderr():find("late: ", 1, true)
        end)
        assert.is_truthy(host:stderr():find("late: dns=nil/TIMEOUT http=nil/TIMEOUT spawn=nil/TIMEOUT tcp=nil/TIMEOUT", 1, true), host:stderr())
        assert.are.equal(0, stats(host).stages.back.http.accepted)
    end)

    it("ends a request to others with the event's time, and tells them how much that is", function()
        local port = support.free_port()
        local host = support.start{["weir.yaml"] = ([[
weir: 1
pools: {main: {threads: 1}}
stages:
  web: {source: http, listen: "127.0.0.1:0", to: page, deadline: 400ms}
  back: {source: http, listen: "127.0.0.1:%d", to: other, deadline_header: X-Weir-Deadline-Ms}
  page: {handler: page.lua, config: {port: %d}}
  other: {handler: other.lua}
]]):format(port, port), ["other.lua"] = [[
local weir = require "weir"
return function(req)
    weir.log.warn("left " .. req.headers["X-Weir-Deadline-Ms"])
    weir.sleep(3)
    req:reply(200, 'back')
end
]], ["page.lua"] = [[
local weir = require "weir"
local M = {}
function M.init(ctx) M.port = ctx.config.port end
function M.handle(req)
    local answer, why, code = weir.http.request{url = "http://127.0.0.1:" .. M.port .. "/", timeout = 20}
    req:reply(200, code)
end
return M
]]}
        local before = socket.gettime()
        assert.are.equal(504, ask(host.port, get("/")).status)
        assert.is_true(socket.gettime() - before < 1.5)
        local left = tonumber(host:stderr():match("left (%d+)"))
        assert.is_true(left > 0 and left <= 400, left)
        support.wait(5, "the end of the work behind", function()
            return stats(host).stages.other.ledger.expired == 1
        end)
    end)
end)
