-- Ways out: what reaches a sink is in the file, at the peer, or counted with its reason; over rotations, peers that go and
-- come back, pipes that close and disks that are full.
local ledger = require "tests.e2e.ledger"
local socket = require "socket"
local support = require "tests.e2e.support"

local quote = support.quote

-- GET /TEXT sends TEXT to the sink; the answer comes once it is in the sink's queue.
local PUT <const> = [[
local weir = require "weir"
return function(req)
    local ok, why = weir.emit("out", req.path:sub(2))
    req:reply(ok and 200 or 503, tostring(why) .. "\n")
end
]]

local PEER <const> = [[
local socket = require "socket"
local server = assert(socket.bind("127.0.0.1", tonumber(arg[1])))
local out = assert(io.open(arg[2], "a"))
out:setvbuf("no")
io.stderr:write("ready\n")
local clients = {server}
while true do
    for _, s in ipairs(socket.select(clients)) do
        if s == server then
            local client = server:accept()
            client:settimeout(0)
            clients[#clients + 1] = client
        else
            local text, why, part = s:receive(4096)
            out:write(text or part or "")
            if why == "closed" then
                s:close()
                for i, c in ipairs(clients) do
                    if c == s then
                        table.remove(clients, i)
                    end
                end
            end
        end
    end
end
]]

local function application(sink, before)
    return {
        ["put.lua"] = PUT,
        ["weir.yaml"] = ([[
weir: 1
name: sinks
drain: 10s
pools: {main: {threads: 2}}
stages:
  web: {source: http, listen: '127.0.0.1:0', to: put}
  put: {handler: put.lua, to: {out: {stage: sink, overflow: wait}}}
%s  sink: {%s}
]]):format(before or "", sink),
    }
end

local function start(sink, options)
    local host = support.start(application(sink), options)
    host.admin = host.folder .. "/../run/weir/sinks.sock"
    return host
end

local function put(client, from, to)
    for n = from, to do
        client:send(support.get("/" .. n))
    end
    for n = from, to do
        local answer = assert(client:answer())
        assert.equal(200, answer.status, n .. ": " .. answer.body)
    end
end

-- Every number from 1 to `last` exactly once, in whatever order.
local function check_numbers(text, last)
    local seen, count = {}, 0
    for line in text:gmatch("([^\n]*)\n") do
        local n = assert(math.tointeger(tonumber(line)), "no whole line: " .. line)
        assert.is_nil(seen[n], n .. " twice")
        seen[n], count = true, count + 1
    end
    assert.equal(last, count)
    for n = 1, last do
        assert.is_true(seen[n], n .. " is missing")
    end
end

local function lines_of(path)
    local _, n = (support.read(path) or ""):gsub("\n", "")
    return n
end

local function reason(stats, name)
    return stats.stages.sink.reasons and (stats.stages.sink.reasons.failed or {})[name] or 0
end

describe("a sink", function()
    after_each(support.clean)

    it("loses nothing and doubles nothing over rotations under load", function()
        local host = start("sink: file, path: out.log, flush_after: 5ms")
        local out, files, last = host.folder .. "/out.log", {}, 0
        local clients = {support.connect(host.port), support.connect(host.port)}
        for turn = 1, 20 do
            for _, client in ipairs(clients) do
                for n = last + 1, last + 50 do
                    client:send(support.get("/" .. n))
                end
                last = last + 50
            end
            if support.read(out) then -- between the questions and the answers: events are in every place
                local rotated = ("%s.%d"):format(out, turn)
                assert(os.rename(out, rotated))
                files[#files + 1] = rotated
                host:signal("USR1")
            end
            for _, client in ipairs(clients) do
                for _ = 1, 50 do
                    assert.equal(200, assert(client:answer()).status)
                end
            end
        end
        local stats = ledger.rest(host.admin)
        ledger.check(stats)
        assert.equal(last, stats.stages.sink.ledger.handled)
        assert.equal(0, host:stop())
        local text = support.read(out) or ""
        for _, file in ipairs(files) do
            text = text .. support.read(file)
        end
        check_numbers(text, last)
        assert.is_true(#files >= 5)
    end)

    it("has written everything when the host has stopped", function()
        local host = start("sink: file, path: out.log, flush_after: 1h")
        local client = support.connect(host.port)
        put(client, 1, 300)
        client:close()
        local began = socket.gettime()
        host:signal("TERM")
        assert.equal(0, host:wait())
        check_numbers(support.read(host.folder .. "/out.log"), 300)
        assert.is_true(socket.gettime() - began < 5) -- it did not wait for its buffer to fill, nor for the drain time
    end)

    it("waits for a peer that was killed and goes on with the one that takes its place", function()
        local folder, port = support.tempdir(), support.free_port()
        support.write(folder .. "/peer.lua", PEER)
        local file = folder .. "/got"
        local line = ("cd %s && exec lua5.4 %s/peer.lua %d %s"):format(quote(support.root), folder, port, file)
        local peer = support.start_command(line)
        local host = start(("sink: tcp, connect: '127.0.0.1:%d', backoff_min: 10ms, backoff_max: 50ms"):format(port))
        local client = support.connect(host.port)
        local last = 0
        for round = 1, 3 do
            put(client, last + 1, last + 200)
            last = last + 200
            support.wait(20, "lines of round " .. round, function()
                return lines_of(file) >= last
            end)
            peer:signal("KILL")
            peer:wait()
            put(client, last + 1, last + 200) -- nobody is there: they wait
            last = last + 200
            assert.equal(last - 200, lines_of(file))
            peer = support.start_command(line)
            support.wait(20, "lines after round " .. round, function()
                return lines_of(file) >= last
            end)
        end
        check_numbers(support.read(file), last)
        local stats = ledger.rest(host.admin)
        ledger.check(stats)
        assert.equal(last, stats.stages.sink.ledger.handled)
        assert.equal(0, host:stop())
    end)

    it("that has nowhere to send shows its load in its queue and drops it at the end of the drain", function()
        local host = start(("sink: tcp, connect: '127.0.0.1:%d', concurrency: 5"):format(support.free_port()),
            {args = {"--set", "drain=200ms"}})
        local client = support.connect(host.port)
        put(client, 1, 40)
        local l = support.wait(10, "a queue", function()
            local l = ledger.stats(host.admin).stages.sink.ledger
            return l.queued + l.running == 40 and l
        end)
        assert.is_true(l.running <= 10 and l.queued >= 30) -- 2 workers
        assert.is_not_equal(0, host:stop())
    end)

    it("fails events, and says so once, when the reader of stdout has gone", function()
        local folder = support.tempdir()
        for name, text in pairs(application("sink: stdout")) do
            support.write(folder .. "/app/" .. name, text)
        end
        assert(os.execute("mkdir -m 700 " .. folder .. "/run"))
        local host = support.start_command(("cd %s/app && exec env XDG_RUNTIME_DIR=%s/run %s run > >(head -n 1 >%s/first)")
            :format(folder, folder, quote(support.bin), folder))
        host.admin = folder .. "/run/weir/sinks.sock"
        local client = support.connect(host.port)
        put(client, 1, 1)
        support.wait(10, "the first line", function()
            return support.read(folder .. "/first") == "1\n"
        end)
        support.wait(10, "a failure", function()
            put(client, 2, 2) -- until head is really gone
            return reason(ledger.rest(host.admin), "io") > 0
        end)
        put(client, 3, 20)
        local stats = ledger.rest(host.admin)
        ledger.check(stats)
        assert.is_true(reason(stats, "io") >= 19)
        local _, told = host:stderr():gsub("can't write to stdout: Broken pipe", "")
        assert.equal(1, told)
        assert.equal(0, host:stop())
    end)

    it("fails events on a full disk and the host goes on", function()
        local host = start("sink: file, path: /dev/full, flush_after: 0s")
        local client = support.connect(host.port)
        put(client, 1, 30)
        local stats = ledger.rest(host.admin)
        ledger.check(stats)
        assert.equal(30, reason(stats, "io"))
        assert.equal(0, stats.stages.sink.ledger.handled)
        local _, told = host:stderr():gsub("can't write to /dev/full: No space left on device", "")
        assert.equal(1, told)
        put(client, 31, 40)
        assert.equal(0, host:stop())
    end)

    it("verifies a TLS peer and sends to it", function()
        local folder, port = support.tempdir(), support.free_port()
        local _, status = support.shell(("cd %s && openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost "
            .. "-addext subjectAltName=DNS:localhost -keyout key.pem -out cert.pem 2>/dev/null"):format(folder))
        assert.is_true(status == nil or status == 0)
        os.execute(("cd %s && { openssl s_server -accept 127.0.0.1:%d -cert cert.pem -key key.pem -quiet >got 2>err "
            .. "</dev/zero & echo $! >pid; }"):format(folder, port))
        local tls = "sink: tcp, connect: 'localhost:%d', backoff_max: 100ms, tls: {ca: %s/cert.pem}"
        local host = start(tls:format(port, folder))
        local client = support.connect(host.port)
        put(client, 1, 5)
        local ok, why = pcall(support.wait, 20, "lines over TLS", function()
            return lines_of(folder .. "/got") == 5
        end)
        os.execute("kill " .. support.read(folder .. "/pid"))
        assert(ok, tostring(why) .. "\n" .. host:stderr())
        check_numbers(support.read(folder .. "/got"), 5)
        host:stop()
    end)
end)

describe("datagrams", function()
    after_each(support.clean)

    it("come in by a udp source and leave by a udp sink", function()
        local receiver = assert(socket.udp())
        assert(receiver:setsockname("127.0.0.1", 0))
        receiver:settimeout(10)
        local _, port = receiver:getsockname()
        local host = support.start {
            ["weir.yaml"] = ([[
weir: 1
name: datagrams
pools: {main: {threads: 2}}
stages:
  wire: {source: udp, listen: '127.0.0.1:0', with_remote: true, to: shout}
  shout: {handler: shout.lua, to: away}
  away: {sink: udp, connect: '127.0.0.1:%d'}
]]):format(port),
            ["shout.lua"] = [[
local weir = require "weir"
return function(event)
    assert(event.remote:match("^127%.0%.0%.1:%d+$"))
    weir.emit("out", event.data:upper())
end
]],
        }
        host.admin = host.folder .. "/../run/weir/datagrams.sock"
        local sender = assert(socket.udp())
        assert(sender:setpeername("127.0.0.1", tonumber(host.ready:match("udp://127%.0%.0%.1:(%d+)"))))
        for n = 1, 50 do
            sender:send("hello " .. n)
            assert.equal("HELLO " .. n, receiver:receive())
        end
        local stats = ledger.rest(host.admin)
        ledger.check(stats)
        assert.equal(50, stats.stages.away.ledger.handled)
        assert.equal(50, stats.stages.wire.udp.datagrams)
        assert.equal(0, stats.stages.wire.udp.truncated)
        assert.equal(0, host:stop())
    end)
end)
