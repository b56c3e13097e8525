-- on_reject: what a source answers requests that no queue would have.
local json = require "cjson"
local support = require "tests.e2e.support"

local get, connect = support.get, support.connect

local function stats(host)
    local command = "XDG_RUNTIME_DIR=%s/../run %s stats --json"
    return json.decode((support.shell(command:format(host.folder, support.quote(support.bin)))))
end

-- One worker, one call at a time and a queue of one: the third request is refused. The calls end when /go is asked for at the second address.
local function start(on_reject, files)
    files = files or {}
    files["weir.yaml"] = ([[
weir: 1
classes: [gold, normal]
pools: {main: {threads: 1}}
shared: {signals: {}}
stages:
  web: {source: http, listen: "127.0.0.1:0", to: page, on_reject: %s, class: gold}
  page: {handler: page.lua, queue: {capacity: 1}, concurrency: 1}
  control: {source: http, listen: "127.0.0.1:0", to: go}
  go: {handler: go.lua}
]]):format(on_reject)
    files["page.lua"] = [[
local weir = require "weir"
local signals = weir.shared("signals")
return function(req)
    while not signals:get("go") do
        weir.sleep(0.01)
    end
    req:reply(200, "done")
end
]]
    files["go.lua"] = [[
local weir = require "weir"
return function(req)
    weir.shared("signals"):set("go", true)
    req:reply(204)
end
]]
    return support.start(files)
end

-- Fills the stage and calls `refused(client)` with a client that will be.
local function while_full(host, refused)
    local first, second = connect(host.port), connect(host.port)
    first:send(get("/"))
    support.wait(10, "a call", function() return stats(host).stages.page.ledger.running == 1 end)
    second:send(get("/"))
    support.wait(10, "a full queue", function() return stats(host).stages.page.ledger.queued == 1 end)
    refused(connect(host.port))
    assert.are.equal(204, support.ask(tonumber(host.urls[2]:match(":(%d+)$")), get("/go")).status)
    assert.are.equal("done", first:answer().body)
    assert.are.equal("done", second:answer().body)
end

describe("on_reject", function()
    after_each(support.clean)

    it("answers with a page of its own", function()
        local host = start("{status: 429, body: 'not now', headers: {X-Why: full, Content-Type: text/html}, retry_after: 1500ms}")
        while_full(host, function(client)
            for _ = 1, 3 do
                client:send(get("/"))
                local answer = client:answer()
                assert.are.equal(429, answer.status)
                assert.are.equal("not now", answer.body)
                assert.are.equal("full", answer.headers["x-why"])
                assert.are.equal("text/html", answer.headers["content-type"])
                assert.are.equal("2", answer.headers["retry-after"])
            end
            client:send(get("/"):gsub("GET", "HEAD"))
            local head = client:answer("HEAD")
            assert.are.equal("7", head.headers["content-length"])
        end)
        local http = stats(host).stages.web.http
        assert.are.equal(4, http.overloaded)
        assert.are.equal(4, http.answers_4xx)
    end)

    it("answers with a file, its type by its name", function()
        local host = start("{file: busy.html}", {["busy.html"] = "<h1>busy</h1>\n"})
        while_full(host, function(client)
            client:send(get("/"))
            local answer = client:answer()
            assert.are.equal(503, answer.status)
            assert.are.equal("<h1>busy</h1>\n", answer.body)
            assert.is_truthy(answer.headers["content-type"]:find("text/html", 1, true))
            assert.are.equal("1", answer.headers["retry-after"])
        end)
    end)

    local script = [[
local weir = require "weir"
local refusals = weir.counter("refusals_total")
return function(req, why)
    refusals:inc()
    if req.path == "/none" then
        return
    elseif req.path == "/error" then
        error("on purpose")
    elseif req.path == "/sleep" then
        weir.sleep(1)
    elseif req.path == "/emit" then
        weir.emit("out", req)
    elseif req.path == "/loop" then
        while true do end
    elseif req.path == "/twice" then
        req:reply(200, "cheap")
        req:reply(200, "again")
    elseif req.path == "/file" then
        req:reply{status = 503, file = "busy.html"}
    else
        req:reply(302, {Location = "/later"}, weir.json.encode{reason = why.reason, stage = why.stage, status = why.status,
            retry_after = why.retry_after, class = req.class, method = req.method})
    end
end
]]

    it("may be a function, which sees the request and why it was refused", function()
        local host = start("reject.lua", {["reject.lua"] = script, ["busy.html"] = "busy"})
        while_full(host, function(client)
            client:send(get("/"))
            local answer = client:answer()
            assert.are.equal(302, answer.status)
            assert.are.equal("/later", answer.headers.location)
            assert.are.same({reason = "full", stage = "page", status = 503, retry_after = 1, class = "gold", method = "GET"},
                json.decode(answer.body))
            client:send(get("/file"))
            assert.are.equal("busy", client:answer().body)
            for _, path in ipairs {"/none", "/error", "/sleep", "/emit"} do
                client:send(get(path))
                answer = client:answer()
                assert.are.equal(503, answer.status, path)
                assert.are.equal("503 Service Unavailable\n", answer.body)
            end
            client:send(get("/twice"))
            assert.are.equal("cheap", client:answer().body)
            client:send(get("/loop"))
            assert.are.equal(503, client:answer().status)
        end)
        local http = stats(host).stages.web.http
        assert.are.equal(8, http.overloaded)
        assert.are.equal(6, http.reject_failed)
        local ledger = stats(host).stages.page.ledger
        assert.are.equal(8, ledger.rejected)
    end)

    it("says when a gate will let one in", function()
        local function start_gated(on_reject)
            return support.start{["weir.yaml"] = ([[
weir: 1
pools: {main: {threads: 1}}
stages:
  web: {source: http, listen: "127.0.0.1:0", to: page%s}
  page: {handler: page.lua, admission: {controller: token_bucket, rate: 0.1, burst: 1}}
]]):format(on_reject), ["reject.lua"] = script, ["page.lua"] = "return function(req) req:reply(200, 'done') end\n"}
        end
        local function refused_by(host) -- the gate is open until its controller's first step
            return support.wait(5, "a refusal", function()
                local answer = support.ask(host.port, get("/"))
                return answer.status ~= 200 and answer
            end)
        end
        local answer = refused_by(start_gated(", on_reject: reject.lua"))
        local why = json.decode(answer.body)
        assert.are.same({302, "gate", "page"}, {answer.status, why.reason, why.stage})
        assert.is_true(why.retry_after > 5 and why.retry_after <= 10, why.retry_after)
        answer = refused_by(start_gated(""))
        assert.are.equal(503, answer.status)
        local seconds = tonumber(answer.headers["retry-after"])
        assert.is_true(seconds > 5 and seconds <= 10, seconds)
    end)

    it("answers what a policy drops, and what a handler was refused, wherever that happens", function()
        local host = support.start{["weir.yaml"] = [[
weir: 1
pools: {main: {threads: 1}, other: {threads: 1}}
stages:
  web: {source: http, listen: "127.0.0.1:0", to: first, on_reject: reject.lua}
  first: {handler: first.lua, to: page}
  page: {handler: page.lua, pool: other, queue: {capacity: 1, overflow: drop_oldest}, concurrency: 1}
]], ["reject.lua"] = script, ["first.lua"] = [[
local weir = require "weir"
return function(req)
    local ok, why = weir.emit("out", req)
end
]], ["page.lua"] = [[
local weir = require "weir"
return function(req)
    weir.sleep(0.5)
    req:reply(200, "done")
end
]]}
        local clients = {}
        for i = 1, 6 do
            clients[i] = connect(host.port)
            clients[i]:send(get("/"))
        end
        local done, dropped = 0, 0
        for _, client in ipairs(clients) do
            local answer = client:answer()
            if answer.status == 200 then
                done = done + 1
            else
                assert.are.equal(302, answer.status)
                assert.are.same({"oldest", "page"}, {json.decode(answer.body).reason, json.decode(answer.body).stage})
                dropped = dropped + 1
            end
        end
        assert.are.equal(6, done + dropped)
        assert.are.equal(dropped, stats(host).stages.page.ledger.dropped)
        assert.is_true(dropped >= 3)
        assert.are.equal(0, host:stop())
    end)

    it("of a handler whose emit was refused, in another pool", function()
        local host = support.start{["weir.yaml"] = [[
weir: 1
pools: {main: {threads: 1}, other: {threads: 1}}
stages:
  web: {source: http, listen: "127.0.0.1:0", to: first, on_reject: reject.lua}
  first: {handler: first.lua, to: page, pool: other}
  page: {handler: page.lua, queue: {capacity: 1}, concurrency: 1}
]], ["reject.lua"] = script, ["first.lua"] = [[
local weir = require "weir"
return function(req)
    weir.emit("out", req)
end
]], ["page.lua"] = [[
local weir = require "weir"
return function(req)
    weir.sleep(0.5)
    req:reply(200, "done")
end
]]}
        local clients, refused = {}, 0
        for i = 1, 6 do
            clients[i] = connect(host.port)
            clients[i]:send(get("/"))
        end
        for _, client in ipairs(clients) do
            local answer = client:answer()
            refused = refused + (answer.status == 302 and 1 or 0)
            assert.is_true(answer.status == 302 or answer.status == 200)
        end
        assert.is_true(refused >= 3)
        assert.are.equal(0, host:stop())
    end)
end)
