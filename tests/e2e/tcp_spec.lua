-- The source `tcp` and weir.conn from outside: peers that send in pieces, too much, nothing, or that never read.
local json = require "cjson"
local socket = require "socket"
local support = require "tests.e2e.support"

local connect = support.connect

local echo = [[
local weir = require "weir"
return function(event)
    if type(event) == "table" then
        weir.log.info("news", event)
        return
    end
    local conn = weir.conn()
    if not conn then return end
    if event == "bye" then
        conn:send("bye")
        return conn:close()
    elseif event == "abort" then
        return conn:abort()
    elseif event:match("^flood ") then
        for i = 1, tonumber(event:match("%d+")) do
            local ok, why = conn:send(("x"):rep(1000))
            if not ok then return weir.log.info("flood ended: " .. why .. " after " .. i) end
        end
        conn:send("done")
        return weir.log.info("flood done")
    end
    conn:send("echo " .. event)
end
]]

local function start(options, text, edge, threads)
    return support.start{["weir.yaml"] = ([[
weir: 1
pools: {main: {threads: %d}}
stages:
  in: {source: tcp, listen: '127.0.0.1:0', to: {out: {stage: app, overflow: wait}}%s}
  app: {handler: app.lua%s}
]]):format(threads or 2, options and ", " .. options or "", edge and ", " .. edge or ""), ["app.lua"] = text or echo}
end

local function stats(host)
    local text = support.shell(("XDG_RUNTIME_DIR=%s/../run %s stats --json"):format(host.folder, support.quote(support.bin)))
    return json.decode(text).stages
end

local function line(client)
    return client.sock:receive("*l")
end

local function open(host)
    return connect(host.port)
end

describe("the source tcp", function()
    after_each(support.clean)

    it("cuts lines however they arrive, and sends lines back", function()
        local host = start()
        local client = open(host)
        for byte in ("one\r\ntwo\n\nlast\n"):gmatch(".") do
            client.sock:send(byte)
        end
        for _, expected in ipairs{"echo one", "echo two", "echo ", "echo last"} do
            assert.equal(expected, line(client))
        end
        client.sock:send("bye\n")
        assert.equal("bye", line(client))
        assert.equal("closed", (select(2, line(client))))
        client = open(host)
        client.sock:send("abort\n")
        assert.is_nil(line(client))
        assert.equal(0, host:stop())
    end)

    it("answers a peer that has sent its end, the line without an end included", function()
        local host = start("linger: 5s")
        local client = open(host)
        client.sock:send("a\nb")
        client.sock:shutdown("send")
        assert.equal("echo a", line(client))
        assert.equal("echo b", line(client))
        client:close()
        assert.equal(0, host:stop())
    end)

    it("cuts frames by their length, with headers of other protocols too", function()
        local host = start("framing: length, length_size: 2, length_order: little, length_offset: 1, length_header: 4", [[
            local weir = require "weir"
            return function(event) weir.conn():send(event) end]])
        local client = open(host)
        local function frame(body)
            return "H" .. string.pack("<I2", #body) .. "!" .. body
        end
        local sent = frame("") .. frame("a\0b\n") .. frame(("z"):rep(3000))
        for at = 1, #sent, 7 do
            client.sock:send(sent:sub(at, at + 6))
        end
        assert.equal(sent, client.sock:receive(#sent))
        assert.equal(0, host:stop())
    end)

    it("closes or skips what is too long", function()
        local host = start("max_frame: 16")
        local client = open(host)
        client.sock:send(("y"):rep(100) .. "\nafter\n")
        assert.is_nil(line(client))
        assert.equal(1, stats(host)["in"].tcp.overlong)
        assert.equal(0, host:stop())

        host = start("max_frame: 16, overlong: skip")
        client = open(host)
        client.sock:send(("y"):rep(100000) .. "\nafter\n")
        assert.equal("echo after", line(client))
        assert.equal(0, host:stop())
    end)

    it("keeps the order of each connection over two workers, and loses nothing", function()
        local host = start()
        local clients, lines <const> = {}, 2000
        for c = 1, 6 do
            clients[c] = open(host)
            local text = {}
            for i = 1, lines do
                text[i] = c .. "-" .. i .. "\n"
            end
            clients[c].sock:send(table.concat(text))
        end
        for c, client in ipairs(clients) do
            for i = 1, lines do
                assert.equal("echo " .. c .. "-" .. i, line(client))
            end
        end
        local app = stats(host).app.ledger
        assert.equal(6 * lines, app.handled)
        assert.equal(0, app.rejected)
        assert.equal(0, host:stop())
    end)

    it("stops reading while the stage behind it waits, and loses nothing", function()
        local host = start("linger: 60s", [[
            local weir = require "weir"
            local last = 0
            return function(event)
                weir.sleep(0.0005)
                local n = tonumber(event)
                assert(n == last + 1, "after " .. last .. " came " .. n)
                last = n
                if n % 1000 == 0 then weir.conn():send(tostring(n)) end
            end]], "queue: {capacity: 16}, concurrency: 1", 1)
        local client, text = open(host), {}
        for i = 1, 3000 do
            text[i] = i .. "\n"
        end
        client.sock:settimeout(30)
        assert(client.sock:send(table.concat(text)))
        for n = 1000, 3000, 1000 do
            assert.equal(tostring(n), line(client))
        end
        local app = stats(host).app.ledger
        assert.equal(3000, app.handled)
        assert.equal(0, app.failed + app.rejected)
        assert.equal(0, host:stop())
    end)

    it("lets who sends to a slow peer wait, without growing", function()
        local host = start("send_buffer: 64KiB", nil, "limits: {cpu: 30s}") -- sanitizers take their time
        local slow, other = open(host), open(host)
        local before = host:memory("VmRSS")
        slow.sock:send("flood 50000\n") -- 50 MB
        other.sock:send("still here\n")
        assert.equal("echo still here", line(other))
        socket.sleep(0.3)
        local grown = host:memory("VmRSS") - before
        assert.is_true(os.getenv("WEIR_PRESET") ~= nil or grown < 16 * 1024, "grew by " .. grown .. " KiB")
        local got = 0
        while true do
            local text = assert(line(slow))
            if text == "done" then
                break
            end
            got = got + 1
        end
        assert.equal(50000, got)
        assert.equal(0, host:stop())
    end)

    it("cuts a slow peer, and only that, when it is told so", function()
        local host = start("send_buffer: 64KiB, on_overflow: close")
        local slow, other = open(host), open(host)
        slow.sock:send("flood 50000\n")
        support.wait(10, "the flood's end", function()
            return host:stderr():find("flood ended: closed", 1, true)
        end)
        other.sock:send("still here\n")
        assert.equal("echo still here", line(other))
        assert.equal(1, stats(host)["in"].tcp.slow)
        assert.equal(0, host:stop())
    end)

    it("tells of connections, closes idle ones and bounds their number", function()
        local host = start("notify: true, idle_timeout: 300ms, max_connections: 2")
        local one, two = open(host), open(host)
        one.sock:send("x\n")
        assert.equal("echo x", line(one))
        local three = open(host)
        assert.is_nil(line(three))
        assert.is_nil(line(two))
        support.wait(10, "news of the end", function()
            local _, ends = host:stderr():gsub('"event":"close"', "")
            local _, opens = host:stderr():gsub('"event":"open"', "")
            return ends == 2 and opens == 2 and host:stderr():find('"reason":"idle"', 1, true)
        end)
        assert.equal(1, stats(host)["in"].tcp.turned_away)
        assert.equal(0, host:stop())
    end)

    it("finishes and answers what it has read when it is told to stop", function()
        local host = start(nil, [[
            local weir = require "weir"
            return function(event) weir.sleep(0.2) weir.conn():send("late " .. event) end]])
        local client = open(host)
        client.sock:send("a\nb\nc\n")
        support.wait(5, "the events", function()
            return stats(host).app.ledger.accepted == 3
        end)
        host:signal("TERM")
        local got = {line(client), line(client), line(client)}
        table.sort(got)
        assert.same({"late a", "late b", "late c"}, got)
        assert.equal(0, host:wait())
    end)

    it("works over a unix socket", function()
        local folder = support.tempdir()
        local host = support.start{["weir.yaml"] = ([[
weir: 1
stages:
  in: {source: tcp, listen: 'unix:%s/s', to: app}
  app: {handler: app.lua}
]]):format(folder), ["app.lua"] = echo}
        local client = connect("unix:" .. folder .. "/s")
        client.sock:send("hello\n")
        assert.equal("echo hello", line(client))
        assert.equal(0, host:stop())
    end)

    it("begins with lines where the protocol does, and sends bytes as they are", function()
        local host = start("framing: length, greeting: {until: ''}", [[
            local weir = require "weir"
            return function(event)
                local conn = weir.conn()
                if type(event) == "string" then
                    return conn:send("got " .. event)
                elseif event.last then
                    conn:write("OK " .. event.conn .. "\n\n")
                end
            end]])
        local client = open(host)
        client.sock:send("HELLO/1\nname: x\n\n" .. string.pack(">s4", "first"))
        local id = line(client):match("^OK (%d+)$")
        assert.equal("", line(client))
        assert.equal(string.pack(">s4", "got first"), client.sock:receive(13))
        assert.is_true(math.type(tonumber(id)) == "integer")
        assert.equal(0, host:stop())
    end)

    it("finds a connection by its id, in a batch and from another pool, and none for other events", function()
        local host = support.start{["weir.yaml"] = [[
weir: 1
pools: {main: {threads: 2}, side: {threads: 2, blocking: true}}
stages:
  in: {source: tcp, listen: '127.0.0.1:0', to: {out: {stage: batch, overflow: wait}}}
  web: {source: http, listen: '127.0.0.1:0', to: batch}
  batch: {handler: batch.lua, to: {side: side}}
  side: {handler: side.lua, pool: side}
]], ["batch.lua"] = [[
local weir = require "weir"
return {handle_batch = function(events)
    for i = 1, events.n do
        if type(events[i]) == "string" then
            local conn = assert(weir.conn(weir.meta(i).source))
            assert(conn.source == "in" and conn.remote:match("^127%.0%.0%.1:%d+$") and conn.tls == nil)
            assert(tostring(conn):find(conn.id, 1, true) and conn == weir.conn(conn.id))
            assert(events.n == 1 or not pcall(weir.conn))
            weir.emit("side", {conn = conn.id, text = events[i]})
        else
            local conn, why = weir.conn(weir.meta(i).source)
            events[i]:reply(200, tostring(conn) .. " " .. tostring(why) .. "\n")
        end
    end
end}]], ["side.lua"] = [[
local weir = require "weir"
return function(event)
    local conn = weir.conn(event.conn)
    if conn then conn:send("from the side: " .. event.text) end
end]]}
        local tcp, web = host.urls[1], host.urls[2]
        if not tcp:find("^tcp:") then
            tcp, web = web, tcp
        end
        local client = connect(tonumber(tcp:match(":(%d+)$")))
        for i = 1, 200 do
            client.sock:send(i .. "\n")
        end
        for i = 1, 5 do -- its first connections: their numbers are none of ours
            assert.equal("nil closed\n", (support.curl(web .. "/")), i)
        end
        local got = {}
        for i = 1, 200 do
            got[i] = tonumber(assert(line(client)):match("^from the side: (%d+)$"))
        end
        table.sort(got)
        assert.same({1, 200}, {got[1], got[200]})
        assert.equal(0, host:stop())
    end)

    it("takes back what a call wanted to send whose time is over, and grows by none of it", function()
        local host = start("send_buffer: 16KiB, deadline: 200ms", [[
            local weir = require "weir"
            local big = ("y"):rep(60000)
            return function(event)
                local conn = weir.conn()
                if event == "fill" then
                    while true do conn:send(("x"):rep(1000)) end
                end
                conn:send(big)
            end]], "queue: {order_by: none}")
        local client = open(host)
        client.sock:send("fill\n")
        support.wait(10, "the end of the first call", function()
            return stats(host).app.ledger.expired == 1
        end)
        local function round(n)
            client.sock:send(("late\n"):rep(1000)) -- 60 MB
            support.wait(20, "the end of all calls", function()
                local l = stats(host).app.ledger
                return l.offered == 1 + 1000 * n and l.handled + l.expired + l.rejected == l.offered
            end)
            return host:memory("VmRSS")
        end
        local before = round(1)
        round(2)
        local grown = round(3) - before
        local handled = stats(host).app.ledger.handled -- the kernel took a little more in the meantime
        assert.is_true(handled < 50, handled .. " were sent")
        local sanitized = (os.getenv("WEIR_PRESET") or ""):find("san") ~= nil
        assert.is_true(sanitized or grown < 64 * 1024, "grew by " .. grown .. " KiB")
        local got = {}
        client.sock:settimeout(0.5)
        repeat
            local part, why, rest = client.sock:receive(65536)
            got[#got + 1] = part or rest
        until why
        assert.equal(handled * 60000, select(2, table.concat(got):gsub("y", "")))
        assert.equal(0, host:stop())
    end)

    it("keeps the order of a stream unless it is told not to", function()
        local slow_first = [[
            local weir = require "weir"
            return function(event)
                if event == "1" then weir.sleep(0.3) end
                weir.conn():send(event)
            end]]
        local host = start(nil, slow_first)
        local client = open(host)
        client.sock:send("1\n2\n")
        assert.same({"1", "2"}, {line(client), line(client)})
        assert.equal(0, host:stop())
        host = start(nil, slow_first, "queue: {order_by: none}")
        client = open(host)
        client.sock:send("1\n2\n")
        assert.same({"2", "1"}, {line(client), line(client)})
        assert.equal(0, host:stop())
    end)

    it("serves TLS, says what was agreed on, and waits for no handshake for ever", function()
        local folder = support.tempdir()
        assert(os.execute(("cd %s && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3 "
            .. "-subj /CN=localhost -keyout web.key -out web.pem 2>/dev/null"):format(support.quote(folder))))
        local host = start(("handshake_timeout: 500ms, notify: true, tls: {certificate: %s/web.pem, key: %s/web.key}")
            :format(folder, folder), [[
            local weir = require "weir"
            return function(event)
                if type(event) == "table" then return weir.log.info("news", event) end
                local conn = weir.conn()
                if event == "big" then
                    conn:send(("z"):rep(60000))
                    return conn:close()
                end
                conn:send(event .. " " .. conn.tls.version)
            end]])
        local silent, plain = open(host), open(host)
        plain.sock:send("GET / HTTP/1.0\n\n")
        local said = support.shell(("printf 'hello\\nbig\\n' | timeout 10 openssl s_client -quiet -ign_eof "
            .. "-connect 127.0.0.1:%d 2>/dev/null"):format(host.port))
        assert.equal("hello TLSv1.3\n", said:match("^[^\n]*\n"))
        assert.equal(14 + 60001, #said)
        assert.is_nil(silent.sock:receive(1))
        support.wait(10, "the ends of all connections", function()
            local tcp = stats(host)["in"].tcp
            return tcp.connections == 0 and tcp.handshakes_failed == 2
        end)
        local _, opens = host:stderr():gsub('"event":"open"', "")
        assert.equal(1, opens) -- of those whose handshake succeeded
        assert.equal(0, host:stop())
    end)

    it("loses no answer of a connection that it closes, though the peer went on talking", function()
        local host = start(nil, [[
            local weir = require "weir"
            return function(event)
                local conn = weir.conn()
                if not conn then return end
                for _ = 1, 100 do conn:send(("a"):rep(1000)) end
                conn:close()
            end]])
        local client = open(host)
        client.sock:send("go\n" .. ("more\n"):rep(2000))
        client.sock:settimeout(10)
        local got, _, rest = client.sock:receive("*a")
        assert.equal(100 * 1001, #(got or rest))
        assert.equal(0, host:stop())
    end)
end)
