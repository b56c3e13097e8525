-- Many HTTP clients in one thread: connections that each send a request, read its answer whole, and send the next.
local socket = require "socket"

local M = {}

-- Up to 1000 connections: select() can't watch more.
local MOST <const> = 1000

local Connection = {}
Connection.__index = Connection

-- Yields until all of it is out.
function Connection:send(text)
    local from = 1
    while from <= #text do
        local last, why, partly = self.sock:send(text, from)
        if not last and why ~= "timeout" then
            return nil, why
        end
        from = (last or partly) + 1
        if from <= #text then
            coroutine.yield("write")
        end
    end
    return true
end

function Connection:more()
    while true do
        local text, why, part = self.sock:receive(65536)
        text = text or part
        if text and #text > 0 then
            self.buffer = self.buffer .. text
            return true
        elseif why ~= "timeout" then
            return nil, why
        end
        coroutine.yield("read")
    end
end

-- One answer with a Content-Length: {status, headers, body}; nil and why the connection ended.
function Connection:answer()
    local head_end
    repeat
        head_end = select(2, self.buffer:find("\r\n\r\n", 1, true))
        if not head_end then
            local ok, why = self:more()
            if not ok then
                return nil, why
            end
        end
    until head_end
    local head = self.buffer:sub(1, head_end)
    local answer = {status = tonumber(head:match("^HTTP/1%.1 (%d%d%d) ")), headers = {}}
    for name, value in head:gmatch("\r\n([%w-]+):%s*([^\r]*)") do
        answer.headers[name:lower()] = value
    end
    local length = assert(tonumber(answer.headers["content-length"]), "no length: " .. head)
    while #self.buffer < head_end + length do
        local ok, why = self:more()
        if not ok then
            return nil, why
        end
    end
    answer.body = self.buffer:sub(head_end + 1, head_end + length)
    self.buffer = self.buffer:sub(head_end + length + 1)
    return answer
end

-- Asks for target after target; `seen` gets {target, status, headers, body}, `ends` {target, why} of what came to nothing
-- and {after_close, why} of connections that the host ended after an answer that said so.
local function life(self, options, seen, ends)
    local number = 0
    while true do
        number = number + 1
        local target = options.target(self.index, number)
        if not target then
            return self.sock:close()
        end
        local sent, why = self:send(("GET %s HTTP/1.1\r\nHost: a\r\n\r\n"):format(target))
        local answer
        if sent then
            answer, why = self:answer()
        end
        if not answer then
            ends[#ends + 1] = {target = target, why = why, rest = self.buffer}
            return self.sock:close()
        end
        answer.target = target
        seen[#seen + 1] = answer
        if answer.headers.connection == "close" then
            local more, reason = self:more() -- nothing but the end may follow
            ends[#ends + 1] = {why = more and "more bytes" or reason, after_close = true}
            return self.sock:close()
        end
    end
end

local function step(thread, waits)
    local ok, what = coroutine.resume(thread.routine)
    if not ok then
        error(what, 0)
    end
    waits.read[thread.sock] = what == "read" or nil
    waits.write[thread.sock] = what == "write" or nil
end

local function keys(set)
    local list = {}
    for key in pairs(set) do
        list[#list + 1] = key
    end
    return list
end

-- `options`: port, connections, target(connection, number) → the next request's target or nil for no more; tick() is
-- called between. Returns what was answered and what was not, two lists. Nothing for 20 s is an error.
function M.run(options)
    assert(options.connections <= MOST)
    local seen, ends, threads, waits = {}, {}, {}, {read = {}, write = {}}
    for i = 1, options.connections do
        local sock = assert(socket.connect("127.0.0.1", options.port))
        sock:setoption("tcp-nodelay", true)
        sock:settimeout(0)
        local connection = setmetatable({sock = sock, buffer = "", index = i}, Connection)
        threads[sock] = {sock = sock, routine = coroutine.create(function()
            life(connection, options, seen, ends)
        end)}
    end
    for _, thread in pairs(threads) do
        step(thread, waits)
    end
    while next(waits.read) or next(waits.write) do
        local readable, writable, why = socket.select(keys(waits.read), keys(waits.write), 20)
        assert(why ~= "timeout", "no answer for 20 s")
        for _, sock in ipairs(readable) do
            step(threads[sock], waits)
        end
        for _, sock in ipairs(writable) do
            step(threads[sock], waits)
        end
        if options.tick then
            options.tick(#seen)
        end
    end
    return seen, ends
end

return M
