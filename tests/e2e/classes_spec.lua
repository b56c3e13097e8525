-- Classes: where an event's class comes from, what shows it, how it goes on to the next service.
local json = require "cjson"
local socket = require "socket"
local support = require "tests.e2e.support"

local get, ask = support.get, support.ask

local classes = "weir: 1\nclasses: [gold, normal, bulk]\n"
local page = [[
local weir = require "weir"
return function(req)
    req:reply(200, req.class .. " " .. weir.meta().class)
end
]]

local function start(class, files)
    files = files or {}
    files["weir.yaml"] = files["weir.yaml"] or classes .. ([[
stages:
  web: {source: http, listen: "127.0.0.1:0", to: page, class: %s}
  page: {handler: page.lua}
]]):format(class)
    files["page.lua"] = files["page.lua"] or page
    return support.start(files)
end

local function stats(host)
    local command = "XDG_RUNTIME_DIR=%s/../run %s stats --json"
    return json.decode((support.shell(command:format(host.folder, support.quote(support.bin)))))
end

local function http(host, stage)
    local s = stats(host).stages[stage or "web"]
    return s.http or s.source or s
end

local function class_of(host, path, ...)
    local answer = ask(host.port, get(path or "/", ...))
    assert.are.equal(200, answer.status)
    local class, meta = answer.body:match("^(%S+) (%S+)$")
    assert.are.equal(class, meta)
    return class
end

describe("the class of an HTTP source's events", function()
    after_each(support.clean)

    it("is the default one unless something is said", function()
        local host = start("normal")
        assert.are.equal("normal", class_of(host))
        assert.are.equal("normal", class_of(host, "/", "X-Class: gold"))
    end)

    it("is a word for all of them", function()
        assert.are.equal("bulk", class_of(start("bulk")))
    end)

    it("is in a header, and what is no class is counted and gets the default", function()
        local host = start("{header: X-Class}")
        assert.are.equal("gold", class_of(host, "/", "X-Class: gold"))
        assert.are.equal("bulk", class_of(host, "/", "x-class:  bulk "))
        assert.are.equal("normal", class_of(host))
        for _ = 1, 5 do
            assert.are.equal("normal", class_of(host, "/", "X-Class: silver"))
        end
        assert.are.equal("normal", class_of(host, "/", "X-Class: gold", "X-Class: gold"))
        assert.are.equal(6, http(host).class_ignored)
        local _, lines = host:stderr():gsub("names no class", "")
        assert.is_true(lines >= 1 and lines <= 4, host:stderr())
    end)

    it("is in a header of those alone who are trusted; the others get what the rest says", function()
        local host = start("{header: X-Class, from: [10.0.0.0/8, '::1'], class: bulk}")
        assert.are.equal("bulk", class_of(host, "/", "X-Class: gold"))
        assert.are.equal(1, http(host).class_ignored)
        host = start("{header: X-Class, from: 127.0.0.0/8, class: bulk}")
        assert.are.equal("gold", class_of(host, "/", "X-Class: gold"))
        assert.are.equal("bulk", class_of(host))
    end)

    it("is that of the narrowest network the client is in", function()
        assert.are.equal("gold", class_of(start("{address: {'127.0.0.0/8': bulk, '127.0.0.1': gold, '0.0.0.0/0': normal}}")))
        assert.are.equal("bulk", class_of(start("{address: {'127.0.0.0/8': bulk, '127.0.0.2/32': gold}}")))
        assert.are.equal("normal", class_of(start("{address: {'10.0.0.0/8': bulk}}")))
        assert.are.equal("gold", class_of(start("{address: {'10.0.0.0/8': bulk}, class: gold}")))
    end)

    it("is that of IPv6 networks and of unix sockets, too", function()
        local path = support.tempdir() .. "/web.sock"
        local host = support.start{
            ["weir.yaml"] = classes .. ([[
stages:
  six: {source: http, listen: "[::1]:0", to: page, class: {address: {"::/0": bulk, "::1": gold, "127.0.0.1": normal}}}
  local: {source: http, listen: "unix:%s", to: page, class: {header: X-Class, from: unix, address: {unix: bulk}}}
  page: {handler: page.lua}
]]):format(path), ["page.lua"] = page}
        local body = support.curl("http://[::1]:" .. host.port .. "/")
        assert.are.equal("gold gold", body)
        assert.are.equal("bulk bulk", ask("unix:" .. path, get("/")).body)
        assert.are.equal("gold gold", ask("unix:" .. path, get("/", "X-Class: gold")).body)
    end)

    it("stays with what emits make of the event, and can be lowered", function()
        local host = support.start{
            ["weir.yaml"] = classes .. [[
stages:
  web: {source: http, listen: "127.0.0.1:0", to: first, class: {header: X-Class}}
  first: {handler: first.lua, to: page}
  page: {handler: page.lua}
]],
            ["first.lua"] = [[
local weir = require "weir"
return function(req)
    weir.emit("out", req, req.path == "/lower" and {class = "bulk"} or nil)
end
]], ["page.lua"] = page}
        assert.are.equal("gold gold", ask(host.port, get("/", "X-Class: gold")).body)
        assert.are.equal("bulk bulk", ask(host.port, get("/lower", "X-Class: gold")).body)
    end)
end)

describe("a classifier in Lua", function()
    local script = [[
local weir = require "weir"
local M = {}
local seen = 0
function M.init(ctx)
    assert(ctx.stage == "web")
end
local tricks = {
    ["/error"] = function() error("on purpose") end,
    ["/loop"] = function() while true do end end,
    ["/sleep"] = function() weir.sleep(1) end,
    ["/emit"] = function() weir.emit("out", 1) end,
    ["/vars"] = function(req) req.vars.x = 1 end,
    ["/reply"] = function(req) req:reply(200) end,
    ["/start"] = function(req) req:start(200) end,
    ["/fiber"] = function() weir.fiber(print) end,
    ["/timer"] = function() weir.timer(1, print) end,
    ["/number"] = function() return 5 end,
    ["/unknown"] = function() return "silver" end,
    ["/late"] = function(req) seen_before = seen_before or req return seen_before.path end,
    ["/pcall"] = function() while true do pcall(function() while true do end end) end end,
    ["/memory"] = function() local t = {} for i = 1, 1e9 do t[i] = ("x"):rep(1000) .. i end end,
}
function M.handle(req)
    seen = seen + 1
    local trick = tricks[req.path]
    if trick then
        return trick(req)
    end
    if req.path == "/nothing" then
        return
    end
    assert(not pcall(function() req.path = "x" end))
    if req.method == "POST" then
        return #req.body > 3 and "bulk" or "gold"
    end
    return req.headers["X-Plan"] or (req.remote == "127.0.0.1" and "bulk")
end
return M
]]
    after_each(support.clean)

    it("sees the request and says the class", function()
        local host = start("{script: classify.lua}", {["classify.lua"] = script})
        assert.are.equal("gold", class_of(host, "/", "X-Plan: gold"))
        assert.are.equal("bulk", class_of(host))
        assert.are.equal("normal", class_of(host, "/nothing"))
        assert.are.equal("bulk bulk", ask(host.port, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello").body)
        assert.are.equal("gold gold", ask(host.port, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi").body)
        assert.are.equal(0, http(host).classifier_failed)
        assert.are.equal("", (host:stderr():gsub("[^\n]*\n", function(line) return line:find("warn", 1, true) and line or "" end)))
    end)

    it("that fails costs nobody more than the default class", function()
        local host = start("{script: classify.lua, class: gold}", {["classify.lua"] = script, ["weir.yaml"] = classes .. [[
pools: {main: {threads: 1}}
stages:
  web: {source: http, listen: "127.0.0.1:0", to: page, class: {script: classify.lua, class: gold}}
  page: {handler: page.lua}
]]})
        local failed = 0
        for _, path in ipairs {"/error", "/sleep", "/emit", "/vars", "/reply", "/start", "/fiber", "/timer", "/number", "/unknown"} do
            assert.are.equal("gold", class_of(host, path), path)
            failed = failed + 1
            assert.are.equal("bulk", class_of(host), path)
        end
        assert.are.equal(failed, http(host).classifier_failed)
    end)

    it("that runs away is ended, and replaced", function()
        local host = start("", {["classify.lua"] = script, ["weir.yaml"] = classes .. [[
pools: {main: {threads: 1}}
stages:
  web: {source: http, listen: "127.0.0.1:0", to: page, class: {script: classify.lua}}
  page: {handler: page.lua}
]]})
        for _, path in ipairs {"/loop", "/pcall", "/memory"} do
            local before = socket.gettime()
            assert.are.equal("normal", class_of(host, path), path)
            assert.is_true(socket.gettime() - before < 2, path)
            support.wait(10, "a new VM after " .. path, function()
                return class_of(host) == "bulk"
            end)
        end
        assert.is_truthy(host:stderr():find("over 10ms, which is all that a function for a source may take", 1, true), host:stderr())
        assert.are.equal("bulk", class_of(host))
    end)

    it("sees requests that were sent ahead while a handler answers", function()
        local host = start("", {["classify.lua"] = script, ["weir.yaml"] = classes .. [[
pools: {main: {threads: 1}}
stages:
  web: {source: http, listen: "127.0.0.1:0", to: page, class: {script: classify.lua}}
  page: {handler: page.lua}
]], ["page.lua"] = [[
return function(req)
    local t = os.clock()
    while os.clock() - t < 0.03 do end
    req:reply(200, req.class)
    while os.clock() - t < 0.06 do end
end
]]})
        local client = support.connect(host.port)
        client:send(get("/", "X-Plan: gold") .. get("/") .. get("/error") .. get("/", "X-Plan: gold"))
        for _, class in ipairs {"gold", "bulk", "normal", "gold"} do
            assert.are.equal(class, client:answer().body)
        end
        client:close()
        assert.are.equal(0, host:stop())
        assert.is_nil(host:stderr():find("stuck", 1, true), host:stderr())
    end)
end)

describe("the class of other sources", function()
    after_each(support.clean)

    local show = [[
local weir = require "weir"
return function(event)
    weir.emit("out", weir.meta().class .. " " .. tostring(event))
end
]]

    it("is a word: timer, generator, stdin", function()
        local host = support.start{["weir.yaml"] = classes .. [[
stages:
  tick: {source: timer, every: 10ms, to: show, class: gold}
  load: {source: generator, count: 1, to: show, class: bulk}
  show: {handler: show.lua, to: out}
  out: {sink: stdout}
]], ["show.lua"] = show}
        support.wait(10, "events of both", function()
            return host:stdout():find("gold", 1, true) and host:stdout():find("bulk", 1, true)
        end)
        assert.is_nil(host:stdout():find("normal", 1, true))
    end)

    it("is that of the peer's network: tcp and udp", function()
        local host = support.start{["weir.yaml"] = classes .. [[
stages:
  lines: {source: tcp, listen: "127.0.0.1:0", to: show, class: {address: {"127.0.0.0/8": gold}}}
  other: {source: tcp, listen: "127.0.0.1:0", to: show, class: {address: {"10.0.0.0/8": gold}, class: bulk}}
  grams: {source: udp, listen: "127.0.0.1:0", to: show, class: {address: {"127.0.0.1": bulk}}}
  show: {handler: show.lua, to: out}
  out: {sink: stdout}
]], ["show.lua"] = show}
        local ports = {}
        for _, url in ipairs(host.urls) do
            ports[#ports + 1] = tonumber(url:match(":(%d+)$"))
        end
        support.connect(ports[1]):send("one\n")
        support.connect(ports[2]):send("two\n")
        local udp = socket.udp()
        udp:sendto("three", "127.0.0.1", ports[3])
        for _, line in ipairs {"gold one", "bulk two", "bulk three"} do
            support.wait(10, line, function()
                return host:stdout():find(line, 1, true)
            end)
        end
    end)
end)

describe("order: class", function()
    after_each(support.clean)

    -- `bulk` requests wait; then come `gold` ones. Returns what became of them: the worst place of a gold answer among all, and the statuses of both.
    local function race(host, bulk, gold)
        local clients, place, worst = {}, 0, 0
        local statuses = {gold = {}, bulk = {}}
        local function ask_as(class)
            local client = support.connect(host.port)
            client:send(get("/", "X-Class: " .. class))
            clients[#clients + 1] = {client = client, class = class}
        end
        for _ = 1, bulk do
            ask_as("bulk")
        end
        support.wait(10, "all of the bulk", function()
            local l = stats(host).stages.page.ledger
            return l.accepted + l.rejected == bulk
        end)
        for _ = 1, gold do
            ask_as("gold")
        end
        for _, c in ipairs(clients) do
            local answer = c.client:answer()
            local of = statuses[c.class]
            of[answer.status] = (of[answer.status] or 0) + 1
            if answer.status == 200 and c.class == "gold" then
                worst = math.max(worst, tonumber(answer.body))
            end
            place = place + 1
            c.client:close()
        end
        return worst, statuses
    end

    local function start_page(queue)
        return support.start{["weir.yaml"] = classes .. ([[
pools: {main: {threads: 1}}
stages:
  web: {source: http, listen: "127.0.0.1:0", to: page, class: {header: X-Class}}
  page: {handler: page.lua, queue: {%s}, batch: 1, concurrency: 1}
]]):format(queue), ["page.lua"] = [[
local weir = require "weir"
local n = 0
return function(req)
    n = n + 1
    local place = n
    local until_ = weir.now() + 0.02
    while weir.now() < until_ do end
    req:reply(200, tostring(place))
end
]]}
    end

    it("serves gold before the bulk that waited when it came", function()
        local host = start_page("order: class")
        local worst, statuses = race(host, 60, 10)
        assert.are.same({gold = {[200] = 10}, bulk = {[200] = 60}}, statuses)
        assert.is_true(worst < 55, worst) -- the last gold one, among 70
        host = start_page("order: fifo")
        worst = race(host, 60, 10)
        assert.are.equal(70, worst)
    end)
end)

describe("weir.http.request", function()
    after_each(support.clean)

    -- Two services: `front` asks `back`, which tells what it was sent.
    local function services(options)
        local port = support.free_port()
        return support.start{["weir.yaml"] = classes .. ([[
stages:
  front: {source: http, listen: "127.0.0.1:0", to: ask, class: {header: X-Class}, deadline: 5s}
  back: {source: http, listen: "127.0.0.1:%d", to: tell, class: {header: X-Weir-Class}, deadline_header: X-Weir-Deadline-Ms}
  ask: {handler: ask.lua, config: {port: %d}}
  tell: {handler: tell.lua}
]]):format(port, port),
            ["ask.lua"] = ([[
local weir = require "weir"
local M = {}
%s
function M.init(ctx) M.url = ("http://127.0.0.1:%%d/"):format(ctx.config.port) end
function M.handle(req)
    local options = {url = M.url}
    %s
    local answer, why, code = weir.http.request(options)
    req:reply(200, answer and answer.body or code .. " " .. why)
end
return M
]]):format(options and options.head or "", options and options.request or ""),
            ["tell.lua"] = [[
local weir = require "weir"
return function(req)
    local meta = weir.meta()
    req:reply(200, weir.json.encode{class = meta.class, deadline = meta.deadline, header = req.headers["X-Weir-Class"],
        ms = req.headers["X-Weir-Deadline-Ms"], other = req.headers["X-Prio"], other_ms = req.headers["X-Ms"]})
end
]]}
    end

    it("takes the class and what is left of the time along, so that the next service knows", function()
        local host = services()
        local back = json.decode(ask(host.port, get("/", "X-Class: gold")).body)
        assert.are.equal("gold", back.class)
        assert.is_true(tonumber(back.ms) > 1000 and tonumber(back.ms) < 5000, back.ms)
        assert.is_true(back.deadline > 1 and back.deadline < 5)
        back = json.decode(ask(host.port, get("/")).body)
        assert.are.equal("normal", back.class)
        assert.is_nil(back.header)
        assert.is_truthy(back.ms)
    end)

    it("does not, when it is told so, or under other names", function()
        local host = services{request = "options.class_header, options.deadline_header = false, false"}
        local back = json.decode(ask(host.port, get("/", "X-Class: gold")).body)
        assert.are.same({"normal", nil, nil}, {back.class, back.header, back.ms})
        host = services{request = "options.class_header, options.deadline_header = 'X-Prio', 'X-Ms'"}
        back = json.decode(ask(host.port, get("/", "X-Class: gold")).body)
        assert.are.equal("gold", back.other)
        assert.is_truthy(back.other_ms)
        assert.is_nil(back.header)
        host = services{head = "weir.http.pass_on{class_header = 'X-Prio', deadline_header = false}"}
        back = json.decode(ask(host.port, get("/", "X-Class: gold")).body)
        assert.are.equal("gold", back.other)
        assert.is_nil(back.ms)
        host = services{head = "weir.http.pass_on{class_header = false}", request = "options.class_header = true"}
        back = json.decode(ask(host.port, get("/", "X-Class: gold")).body)
        assert.are.equal("gold", back.header)
    end)

    it("leaves a header that the script gives as it is", function()
        local host = services{request = "options.headers = {['x-weir-class'] = 'bulk'}"}
        local back = json.decode(ask(host.port, get("/", "X-Class: gold")).body)
        assert.are.equal("bulk", back.header)
    end)
end)
