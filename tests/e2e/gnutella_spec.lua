-- scripts/gnutella with a swarm of peers: who gets what, how often, and what a slow peer costs.
local json = require "cjson"
local socket = require "socket"
local support = require "tests.e2e.support"

package.path = support.root .. "/scripts/gnutella/?.lua;" .. package.path
local packet = require "packet"

local function run()
    local folder = support.tempdir()
    local command = "cd %s && exec env XDG_RUNTIME_DIR=%s GNUTELLA_PORT=0 %s run scripts/gnutella"
    return support.start_command(command:format(support.root, folder, support.quote(support.bin))), folder
end

local Peer = {}
Peer.__index = Peer

local function join(host)
    local sock = assert(socket.connect("127.0.0.1", host.port))
    sock:setoption("tcp-nodelay", true)
    sock:settimeout(10)
    sock:send("GNUTELLA CONNECT/0.4\n\n")
    assert.equal("GNUTELLA OK\n\n", sock:receive(#"GNUTELLA OK\n\n"))
    return setmetatable({sock = sock}, Peer)
end

function Peer:send(id, type, ttl, hops, payload)
    assert(self.sock:send(packet.pack(id, type, ttl, hops, payload or "")))
end

function Peer:receive()
    local head, why = self.sock:receive(packet.HEADER)
    if not head then
        return nil, why
    end
    local id, type, ttl, hops, length = packet.header(head, 1)
    return {id = id, type = type, ttl = ttl, hops = hops, payload = length > 0 and self.sock:receive(length) or ""}
end

local asked = 0

-- Nothing more came: the answer to a ping of our own is the next thing.
function Peer:assert_nothing_else()
    asked = asked + 1 -- an id that was seen gets no answer
    local id = ("q%15d"):format(asked)
    self:send(id, packet.PING, 1, 0)
    local p = assert(self:receive())
    assert.equal(id, p.id)
    assert.equal(packet.PONG, p.type)
end

local function guid(text)
    return text .. ("\0"):rep(16 - #text)
end

describe("the application gnutella", function()
    after_each(support.clean)

    it("floods pings and queries once, and brings answers back the way they came", function()
        local host = run()
        local a, b, c = join(host), join(host), join(host)
        a:send(guid "ping-1", packet.PING, 5, 2)
        local pong = a:receive()
        assert.same({packet.PONG, 3}, {pong.type, pong.ttl})
        for _, peer in ipairs{b, c} do
            local p = peer:receive()
            assert.same({guid "ping-1", packet.PING, 4, 3}, {p.id, p.type, p.ttl, p.hops})
        end
        c:send(guid "ping-1", packet.PING, 5, 0) -- a duplicate, by another way
        b:send(guid "ping-1", packet.PONG, 3, 0, packet.pong(1, 1))
        pong = a:receive()
        assert.same({guid "ping-1", packet.PONG, 2, 1}, {pong.id, pong.type, pong.ttl, pong.hops})

        a:send(guid "query-1", packet.QUERY, 7, 0, "\0\0seda\0")
        local hit = a:receive()
        assert.same({guid "query-1", packet.HIT}, {hit.id, hit.type})
        assert.truthy(hit.payload:find("seda.pdf", 1, true))
        for _, peer in ipairs{b, c} do
            assert.equal(packet.QUERY, peer:receive().type)
        end
        c:send(guid "query-1", packet.HIT, 5, 0, packet.hit({{1, 2, "x"}}, guid "servent-c"))
        assert.equal(packet.HIT, a:receive().type)
        a:send(guid "push-1", packet.PUSH, 5, 0, guid "servent-c" .. ("\0"):rep(10))
        assert.equal(packet.PUSH, c:receive().type)
        b:send(guid "ping-2", packet.PING, 1, 0) -- its time to live is over here
        assert.equal(packet.PONG, b:receive().type)
        for _, peer in ipairs{a, b, c} do
            peer:assert_nothing_else()
        end
        assert.equal(0, host:stop())
    end)

    it("takes packets in pieces, and cuts who speaks something else", function()
        local host = run()
        local a = join(host)
        for byte in packet.pack(guid "slow", packet.PING, 3, 0, ""):gmatch(".") do
            a.sock:send(byte)
        end
        assert.equal(packet.PONG, a:receive().type)
        a.sock:send(packet.pack(guid "bad", 0x77, 3, 0, ""))
        assert.is_nil(a:receive())
        local stranger = support.connect(host.port)
        stranger.sock:send("GET / HTTP/1.1\r\n\r\n")
        assert.is_nil((stranger.sock:receive(1)))
        assert.equal(0, host:stop())
    end)

    it("lets a peer that never reads cost only itself", function()
        local host, folder = run()
        local a, b, slow = join(host), join(host), join(host)
        local payload = "\0\0" .. ("z"):rep(4000) .. "\0"
        for i = 1, 5000 do -- 20 MB to each of the others
            a:send(guid("q" .. i), packet.QUERY, 3, 0, payload)
            assert.equal(packet.QUERY, assert(b:receive()).type)
        end
        local text = support.shell(("XDG_RUNTIME_DIR=%s %s stats --json"):format(folder, support.quote(support.bin)))
        local stats = json.decode(text).stages
        assert.equal(1, stats.peers.tcp.slow)
        assert.equal(2, stats.peers.tcp.connections)
        slow.sock:close()
        a:assert_nothing_else()
        assert.equal(0, host:stop())
    end)
end)
