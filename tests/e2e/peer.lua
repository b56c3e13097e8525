-- An HTTP server with good and bad manners, for specs of what weir does as a client. Run by lua5.4; says "ready URL"
-- luacheck: no max line length
-- and serves until it is killed. The path chooses the manner; all connections are served at once.
local socket = require "socket"

local server = assert(socket.bind("127.0.0.1", tonumber(arg[1] or "0"), 4096))
server:settimeout(0)
local counts, sent, received = {}, 0, 0
local name = arg[2] or "peer"

-- ---- connections as coroutines ----

local waiting = {} -- by coroutine: {sock=, write=, at=}

local Conn = {}
Conn.__index = Conn

function Conn:wait(write)
    coroutine.yield {sock = self.sock, write = write}
end

local function sleep(seconds)
    coroutine.yield {at = socket.gettime() + seconds}
end

-- At most `n` bytes; nil: the client has ended.
function Conn:some(n)
    if #self.buffer > 0 then
        local part = self.buffer:sub(1, n)
        self.buffer = self.buffer:sub(#part + 1)
        return part
    end
    while true do
        local text, why, part = self.sock:receive(n)
        text = text or part
        if text and #text > 0 then
            received = received + #text
            return text
        elseif why ~= "timeout" then
            return nil
        end
        self:wait(false)
    end
end

function Conn:line()
    while not self.buffer:find("\n", 1, true) do
        local buffer = self.buffer
        self.buffer = ""
        local more = self:some(65536)
        if not more then
            return nil
        end
        self.buffer = buffer .. more
    end
    local line, rest = self.buffer:match("^(.-)\r?\n(.*)$")
    self.buffer = rest
    return line
end

function Conn:take(n)
    local parts = {}
    while n > 0 do
        local part = self:some(math.min(n, 65536))
        if not part then
            return nil
        end
        parts[#parts + 1], n = part, n - #part
    end
    return table.concat(parts)
end

function Conn:send(text)
    local from = 1
    while from <= #text do
        local last, why, part = self.sock:send(text, from)
        local upto = last or part
        sent = sent + (upto - from + 1)
        from = upto + 1
        if not last then
            if why ~= "timeout" then
                error("closed", 0)
            end
            self:wait(true)
        end
    end
end

function Conn:answer(status, body, headers)
    self:send(("HTTP/1.1 %d X\r\nContent-Length: %d\r\nX-Peer: %s\r\n%s\r\n"):format(status, #body, name, headers or ""))
    self:send(body)
end

-- ---- the manners ----

local function read_body(conn, req)
    if req.headers["transfer-encoding"] == "chunked" then
        local parts = {}
        repeat
            local size = tonumber(conn:line(), 16)
            parts[#parts + 1] = conn:take(size)
            conn:line()
        until size == 0
        return table.concat(parts)
    end
    return conn:take(tonumber(req.headers["content-length"] or "0"))
end

local manners = {}

function manners.hello(conn)
    conn:answer(200, "hello\n")
end

function manners.echo(conn, req)
    local body = read_body(conn, req)
    conn:answer(200, body, "X-Method: " .. req.method .. "\r\n")
end

function manners.headers(conn, req)
    read_body(conn, req)
    local lines = {req.method .. " " .. req.target}
    for key, value in pairs(req.headers) do
        lines[#lines + 1] = key .. ": " .. value
    end
    table.sort(lines, function(a, b) return a < b end)
    conn:answer(200, table.concat(lines, "\n") .. "\n")
end

function manners.chunked(conn)
    conn:send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Trailer\r\n" ..
        "Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-Twice: 1\r\nX-Twice: 2\r\n\r\n")
    for _, part in ipairs {"one ", "two ", "three\n"} do
        conn:send(("%x\r\n%s\r\n"):format(#part, part))
        sleep(0.01)
    end
    conn:send("0\r\nX-Trailer: sneaky\r\nX-Twice: 3\r\n\r\n")
end

manners["slow"] = function(conn)
    conn:send("HTTP/1.1 200 OK\r\nContent-Length: 60\r\n\r\n")
    for _ = 1, 60 do
        sleep(1)
        conn:send("x")
    end
end

function manners.late(conn, req)
    sleep(tonumber(req.rest))
    conn:answer(200, "late\n")
end

function manners.events(conn)
    conn:send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    while received >= 0 do
        sleep(0.5)
        conn:send("6\r\nevent\n\r\n")
    end
end

function manners.never(conn)
    conn:some(1)
end

function manners.reset(conn)
    conn:send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\npartly")
    sleep(0.05)
    conn.sock:setoption("linger", {on = true, timeout = 0})
    error("closed", 0)
end

function manners.cut(conn)
    conn:send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\npartly")
    error("closed", 0)
end

function manners.nothing()
    error("closed", 0)
end

function manners.garbage(conn)
    conn:send("what is this\r\n\r\n")
    error("closed", 0)
end

function manners.huge_header(conn)
    conn:send("HTTP/1.1 200 OK\r\n")
    for i = 1, 200 do
        conn:send(("X-%d: %s\r\n"):format(i, ("x"):rep(1000)))
    end
    conn:send("Content-Length: 0\r\n\r\n")
end

function manners.redirect(conn, req)
    local left = tonumber(req.rest)
    if left == 0 then
        conn:answer(200, "arrived\n")
    else
        conn:answer(302, "", ("Location: /redirect/%d\r\n"):format(left - 1))
    end
end

manners["see-other"] = function(conn, req)
    read_body(conn, req)
    conn:answer(303, "", "Location: /headers\r\n")
end

function manners.big(conn, req)
    local left = tonumber(req.rest)
    sent = 0
    conn:send(("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"):format(left))
    local block = ("x"):rep(65536)
    while left > 0 do
        conn:send(#block <= left and block or block:sub(1, left))
        left = left - #block
    end
end

-- Reads a body only when asked to: /release lets it go on.
local released = {}
function manners.upload(conn, req)
    received = 0
    while not released[req.rest] do
        sleep(0.02)
    end
    conn:answer(200, ("%d\n"):format(#read_body(conn, req)))
end

function manners.release(conn, req)
    released[req.rest] = true
    conn:answer(200, "")
end

function manners.status(conn, req)
    read_body(conn, req)
    conn:answer(tonumber(req.rest), "status " .. req.rest .. "\n")
end

-- Fails with 503 as often as asked to, under a name: /flaky/name/2
function manners.flaky(conn, req)
    local id, times = req.rest:match("^(.-)/(%d+)$")
    if counts["flaky " .. id] <= tonumber(times) then
        conn:answer(503, "not yet\n")
    else
        conn:answer(200, "at last\n")
    end
end

function manners.cached(conn)
    conn:answer(200, ("answer %d\n"):format(counts.cached), "Cache-Control: max-age=60\r\nContent-Type: text/plain\r\n")
end

function manners.hop(conn)
    conn:answer(200, "hop\n", "Connection: X-Private\r\nX-Private: 1\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\n")
end

-- What happened here, as text.
function manners.count(conn, req)
    conn:answer(200, tostring(counts[req.rest] or 0))
end

function manners.moved(conn)
    conn:answer(200, ("%d %d"):format(sent, received))
end

local function serve(conn)
    while true do
        local first = conn:line()
        if not first then
            return
        end
        local req = {headers = {}}
        req.method, req.target = first:match("^(%S+) (%S+)")
        for line in function() local l = conn:line() return l ~= "" and l or nil end do
            local key, value = line:match("^([^:]+):%s*(.-)%s*$")
            req.headers[key:lower()] = value
        end
        local manner, rest = (req.target:match("^[^?]*")):match("^/([^/]*)/?(.*)$")
        req.rest = rest
        counts[manner] = (counts[manner] or 0) + 1
        if manner == "flaky" then
            local id = "flaky " .. rest:match("^(.-)/")
            counts[id] = (counts[id] or 0) + 1
        end
        if manners[manner] then
            manners[manner](conn, req)
        else
            read_body(conn, req)
            conn:answer(200, name .. " " .. req.target .. "\n")
        end
    end
end

-- ---- the loop ----

local function resume(co)
    local ok, wish = coroutine.resume(co)
    if not ok and wish ~= "closed" then
        io.stderr:write(tostring(wish), "\n")
    end
    if coroutine.status(co) == "dead" then
        waiting[co] = nil
    else
        waiting[co] = wish
    end
end

local function accept()
    while true do
        local sock = server:accept()
        if not sock then
            return
        end
        sock:settimeout(0)
        sock:setoption("tcp-nodelay", true)
        resume(coroutine.create(function()
            local conn = setmetatable({sock = sock, buffer = ""}, Conn)
            local ok, why = pcall(serve, conn)
            sock:close()
            if not ok and why ~= "closed" then
                error(why, 0)
            end
        end))
    end
end

local _, port = server:getsockname()
io.stderr:write(("ready http://127.0.0.1:%d\n"):format(port))
while true do
    local reads, writes, soonest = {server}, {}, 1
    local now = socket.gettime()
    for _, wish in pairs(waiting) do
        if wish.at then
            soonest = math.max(0, math.min(soonest, wish.at - now))
        else
            table.insert(wish.write and writes or reads, wish.sock)
        end
    end
    local can_read, can_write = socket.select(reads, writes, soonest)
    now = socket.gettime()
    local due = {}
    for co, wish in pairs(waiting) do
        if wish.at and wish.at <= now or wish.sock and (wish.write and can_write or can_read)[wish.sock] then
            due[#due + 1] = co
        end
    end
    for _, co in ipairs(due) do
        resume(co)
    end
    if can_read[server] then
        accept()
    end
end
