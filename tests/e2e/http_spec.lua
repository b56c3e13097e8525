-- The HTTP source from outside: raw bytes over sockets, as careless and hostile clients send them.
local json = require "cjson"
local socket = require "socket"
local support = require "tests.e2e.support"

local post = "POST /echo HTTP/1.1\r\nHost: a\r\n"
local chunked = post .. "Transfer-Encoding: chunked\r\n\r\n"
local get, ask, connect = support.get, support.ask, support.connect

local handler = [[
local M = {}
function M.handle(req)
    local path = req.path
    if path == "/echo" then
        req:reply(200, req.body)
    elseif path == "/headers" then
        req:reply(200, req.headers[req.query])
    elseif path == "/raise" then
        error("on purpose")
    elseif path == "/silent" then
        return
    elseif path == "/big" then
        req:reply(200, ("x"):rep(20 * 1024 * 1024))
    elseif path == "/busy" then
        local t = os.clock()
        while os.clock() - t < 0.005 do end
        req:reply(200, "done")
    elseif path == "/spin" then
        local t = os.clock()
        while os.clock() - t < 1 do end
        req:reply(200, "too late")
    elseif path:match("^/file/") then
        req:reply{status = 200, file = path:sub(7)}
    else
        req:reply(200, {["X-Path"] = path}, "hello")
    end
end
return M
]]

local function yaml(source, stage, pools)
    return ([[
weir: 1
%s
stages:
  web: {source: http, listen: '127.0.0.1:0', to: page%s}
  page: {handler: page.lua%s}
]]):format(pools or "", source and (", " .. source) or "", stage and (", " .. stage) or "")
end

local function start(source, stage, pools)
    return support.start{["weir.yaml"] = yaml(source, stage, pools), ["page.lua"] = handler}
end

local function ledger(host, stage)
    local command = "XDG_RUNTIME_DIR=%s/../run %s stats --json"
    local text = support.shell(command:format(host.folder, support.quote(support.bin)))
    return json.decode(text).stages[stage].ledger
end

-- At rest the ledger closes exactly.
local function check_ledger(host)
    support.wait(10, "rest", function()
        local l = ledger(host, "page")
        return l.queued == 0 and l.running == 0 and l.waiting == 0
    end)
    local l = ledger(host, "page")
    assert.equal(l.offered, l.accepted + l.rejected)
    assert.equal(l.accepted, l.handled + l.expired + l.dropped + l.failed)
    assert.equal(0, l.unsettled)
end

describe("the HTTP source", function()
    after_each(support.clean)

    it("answers, keeps the connection and says when it does not", function()
        local host = start()
        local client = connect(host.port)
        for i = 1, 3 do
            client:send(get("/" .. i))
            local a = client:answer()
            assert.equal(200, a.status)
            assert.equal("/" .. i, a.headers["x-path"])
            assert.equal("hello", a.body)
            assert.truthy(a.headers.date:match("^%a%a%a, %d%d %a%a%a %d%d%d%d %d%d:%d%d:%d%d GMT$"))
        end
        client:send(get("/last", "Connection: close"))
        assert.equal("close", client:answer().headers.connection)
        assert.is_true(client:is_closed())
        check_ledger(host)
        assert.equal(0, host:stop())
    end)

    it("answers 1000 pipelined requests in order", function()
        local host = start()
        local client = connect(host.port)
        local parts = {}
        for i = 1, 1000 do
            parts[i] = get("/" .. i)
        end
        client:send(table.concat(parts))
        for i = 1, 1000 do
            assert.equal("/" .. i, client:answer().headers["x-path"])
        end
        client:close()
        check_ledger(host)
    end)

    it("gives HEAD the length without the body", function()
        local host = start()
        local client = connect(host.port)
        client:send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n" .. get("/next"))
        assert.equal("5", client:answer("HEAD").headers["content-length"])
        assert.equal("/next", client:answer().headers["x-path"])
        client:close()
    end)

    it("takes bodies by length and in chunks, and asks for those that wait", function()
        local host = start()
        local client = connect(host.port)
        client:send(post .. "Content-Length: 5\r\n\r\nabcde")
        assert.equal("abcde", client:answer().body)
        client:send(chunked .. "3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: 1\r\n\r\n")
        assert.equal("abcde", client:answer().body)
        client:send(post .. "Expect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        assert.equal(100, client:answer().status)
        client:send("abc")
        assert.equal("abc", client:answer().body)
        client:close()
    end)

    it("reads one byte at a time as well as all at once", function()
        local host = start()
        local client = connect(host.port)
        for byte in (chunked .. "3\r\nabc\r\n0\r\n\r\n"):gmatch(".") do
            client:send(byte)
        end
        assert.equal("abc", client:answer().body)
        client:close()
    end)

    it("refuses what is malformed, ambiguous or too large, each with its status", function()
        local host = start("max_body: 100, max_uri: 64, max_header_bytes: 512, max_headers: 10")
        local cases = {
            {400, "GET / HTTP/1.1\r\n\r\n"}, {400, "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"},
            {400, "GET / HTTP/1.1\nHost: a\n\n"}, {400, get("/", "A : b")},
            {400, get("/", "A: b\r\n c")}, {400, get("/", "A: b\0c")},
            {400, post .. "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
            {400, post .. "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc"},
            {400, post .. "Content-Length: +3\r\n\r\nabc"},
            {400, post .. "Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n"},
            {405, "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n"}, {413, post .. "Content-Length: 101\r\n\r\n"},
            {413, chunked .. "65\r\n"}, {414, get("/" .. ("x"):rep(64))}, {417, get("/", "Expect: magic")},
            {431, get("/", "A: " .. ("x"):rep(600))}, {431, get("/", ("B: 1\r\n"):rep(10) .. "C: 1")},
            {501, post .. "Transfer-Encoding: gzip\r\n\r\n"}, {505, "GET / HTTP/3.0\r\nHost: a\r\n\r\n"},
        }
        for _, case in ipairs(cases) do
            local client = connect(host.port)
            client:send(case[2])
            local a = client:answer()
            assert.equal(case[1], a and a.status, case[2])
            assert.equal("close", a.headers.connection)
            assert.is_true(client:is_closed(), case[2])
            assert.equal(case[1] == 405, a.headers.allow ~= nil)
            client:close()
        end
        check_ledger(host)
    end)

    it("says 500 for a handler that raises and for one that does not answer", function()
        local host = start()
        assert.equal(500, ask(host.port, get("/raise")).status)
        assert.equal(500, ask(host.port, get("/silent")).status)
        assert.equal(200, ask(host.port, get("/")).status)
        check_ledger(host)
        assert.equal(1, ledger(host, "page").failed)
    end)

    it("says 504 at the deadline while the handler runs and while others wait behind it", function()
        local host = start("deadline: 200ms", "concurrency: 1, pool: other", "pools: {other: {threads: 1}}")
        local running, waiting = connect(host.port), connect(host.port)
        local began = socket.gettime()
        running:send(get("/spin"))
        socket.sleep(0.02)
        waiting:send(get("/"))
        for _, client in ipairs{running, waiting} do
            local a = client:answer()
            assert.equal(504, a and a.status)
            assert.equal("close", a.headers.connection)
            assert.is_true(client:is_closed())
            client:close()
        end
        assert.is_true(socket.gettime() - began < 0.9)
        check_ledger(host)
    end)

    it("says 503 and when to come again to 100 clients at a queue of 1", function()
        local host = start(nil, "queue: {capacity: 1}, pool: other", "pools: {other: {threads: 1}}")
        local clients, seen = {}, {}
        for i = 1, 100 do
            clients[i] = connect(host.port)
            clients[i]:send(get("/busy"))
        end
        for i = 1, 100 do
            local a = clients[i]:answer()
            seen[a.status] = (seen[a.status] or 0) + 1
            if a.status == 503 then
                assert.equal("1", a.headers["retry-after"])
            end
            clients[i]:close()
        end
        assert.equal(100, (seen[200] or 0) + (seen[503] or 0))
        assert.is_true((seen[200] or 0) >= 1 and (seen[503] or 0) >= 1)
        check_ledger(host)
    end)

    it("does not wait for ever for a client that sends one byte a second", function()
        local host = start("header_timeout: 1s, body_timeout: 1s")
        for _, text in ipairs{"GET /", post .. "Content-Length: 9\r\n\r\nab"} do
            local client, began, answer = connect(host.port), socket.gettime(), nil
            client:send(text)
            client.sock:settimeout(0.5)
            for _ = 1, 6 do
                answer = client:answer()
                if answer then
                    break
                end
                client:send("x")
            end
            assert.equal(408, answer and answer.status)
            assert.is_true(socket.gettime() - began < 4)
            client:close()
        end
    end)

    it("cuts a client that never reads, and its memory stays bounded", function()
        local host = start("write_timeout: 1s")
        local client = connect(host.port)
        client:send(get("/big"))
        socket.sleep(0.1)
        assert.equal(200, ask(host.port, get("/")).status) -- others are served meanwhile
        support.wait(10, "the connection's end", function()
            return client.sock:send("x") == nil
        end)
        assert.is_true(host:memory("VmHWM") < 300 * 1024)
        client:close()
        check_ledger(host)
    end)

    it("survives requests that are half sent and then reset", function()
        local host = start()
        for _ = 1, 50 do
            for _, text in ipairs{"GET / HT", post .. "Content-Length: 10\r\n\r\nabc", get("/busy"), get("/big")} do
                local client = connect(host.port)
                client:send(text)
                client:reset()
            end
        end
        assert.equal(200, ask(host.port, get("/")).status)
        check_ledger(host)
    end)

    it("answers a client that ends its side after the request", function()
        local host = start("half_close: true")
        local client = connect(host.port)
        client:send(get("/busy"))
        client.sock:shutdown("send")
        assert.equal("done", client:answer().body)
        assert.is_true(client:is_closed())
        client:close()
    end)

    it("serves files with validators and ranges, and none from outside", function()
        local host = start()
        local page = support.read(host.folder .. "/page.lua")
        local a = ask(host.port, get("/file/page.lua"))
        assert.equal(page, a.body)
        local since = "If-Modified-Since: " .. a.headers["last-modified"]
        for _, condition in ipairs{"If-None-Match: " .. a.headers.etag, since} do
            assert.equal(304, ask(host.port, get("/file/page.lua", condition)).status)
        end
        local part = ask(host.port, get("/file/page.lua", "Range: bytes=6-10"))
        assert.equal(206, part.status)
        assert.equal(page:sub(7, 11), part.body)
        assert.equal(("bytes 6-10/%d"):format(#page), part.headers["content-range"])
        assert.equal(416, ask(host.port, get("/file/page.lua", "Range: bytes=100000-")).status)
        local outside = {"../../../etc/passwd", "..", ".", "nothing", "/etc/passwd", "..%2f../passwd", "page.lua/"}
        for _, path in ipairs(outside) do
            local status = ask(host.port, get("/file/" .. path)).status
            assert.is_true(status == 404 or status == 403, path)
        end
    end)

    it("takes no more than max_connections", function()
        local host = start("max_connections: 5")
        local clients = {}
        for i = 1, 5 do
            clients[i] = connect(host.port)
            clients[i]:send(get("/"))
            assert.equal(200, clients[i]:answer().status)
        end
        local one_more = connect(host.port)
        local a = one_more:answer()
        assert.equal(503, a.status)
        assert.equal("1", a.headers["retry-after"])
        clients[1]:close()
        support.wait(5, "a free place", function()
            local answer = ask(host.port, get("/"))
            return answer and answer.status == 200
        end)
    end)

    it("writes an access log of both kinds", function()
        for _, format in ipairs{"combined", "json"} do
            local host = start("access_log: access.log, access_format: " .. format)
            ask(host.port, get("/x?y", "User-Agent: a\"b", "Referer: r"))
            ask(host.port, "GET / HTTP/1.1\r\n\r\n")
            assert.equal(0, host:stop())
            local first, second = support.read(host.folder .. "/access.log"):match("^([^\n]+)\n([^\n]+)\n$")
            if second:find("/x?y", 1, true) then -- two workers, two connections: either may be the first
                first, second = second, first
            end
            if format == "json" then
                local line = json.decode(first)
                assert.equal(200, line.status)
                assert.equal("/x?y", line.target)
                assert.equal('a"b', line.user_agent)
                assert.equal(400, json.decode(second).status)
            else
                local pattern = '^127%.0%.0%.1 %- %- %[.-%] "GET /x%?y HTTP/1%.1" 200 5 "r" "a\\x22b" %d+%.%d+$'
                assert.truthy(first:match(pattern), first)
                assert.truthy(second:find('"GET / HTTP/1.1" 400', 1, true), second)
            end
        end
    end)

    it("finishes what is in when it is told to stop, and takes nothing new", function()
        local host = start()
        local idle, busy = connect(host.port), connect(host.port)
        idle:send(get("/"))
        assert.equal(200, idle:answer().status)
        busy:send(get("/busy"))
        host:signal("TERM")
        local a = busy:answer()
        assert.is_true(a == nil or a.status == 200)
        assert.is_true(idle:is_closed())
        assert.equal(0, host:wait())
    end)

    it("listens on a unix socket", function()
        local host = support.start{
            ["weir.yaml"] = "weir: 1\nstages:\n  web: {source: http, listen: 'unix:web.sock', to: page}\n"
                .. "  page: {handler: page.lua}\n",
            ["page.lua"] = handler,
        }
        assert.equal("hello", support.shell(("curl -s --unix-socket %s/web.sock http://a/"):format(host.folder)))
        assert.equal(0, host:stop())
        assert.is_nil(support.read(host.folder .. "/web.sock"))
    end)
end)
