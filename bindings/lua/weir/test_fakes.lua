-- t.fake: what answers stages under test in the place of the outside. A function of the part in C and the `weir` table.
local host, weir = ...
local unpack = table.unpack

local fakes = {}
local M = {}

local function activate()
    local names = {}
    for name in pairs(fakes) do
        names[#names + 1] = name
    end
    host.active(names)
end

local function set(name, fake)
    fakes[name] = fake
    activate()
end

-- All functions are the real ones again.
function M.none()
    fakes = {}
    activate()
end

-- weir.http.request asks `answer(request)`, which returns {status=, headers=, body=, delay=} or nil, message, code.
function M.http(answer)
    if type(answer) == "table" then
        local routes = answer
        answer = function(request)
            local found = routes[request.url]
            if not found then
                error(("t.fake.http: there is no answer for %s"):format(request.url), 0)
            end
            return type(found) == "function" and found(request) or found
        end
    end
    set("http", answer and {
        request = function(_, request)
            request.method = request.method or (request.body and "POST" or "GET")
            request.headers = request.headers or {}
            local response, message, code = answer(request)
            if response == nil then
                return {n = 3, nil, message or "failed", code or "EIO"}
            end
            if type(response) ~= "table" then
                error("t.fake.http: the answer must be a table, or nil, message, code", 0)
            end
            local delay = response.delay
            if delay and delay >= (request.timeout or math.huge) then
                return {n = 3, nil, "timed out", "TIMEOUT", delay = request.timeout}
            end
            local headers = {}
            for name, value in pairs(response.headers or {}) do
                headers[name:lower()] = value
            end
            return {n = 1, delay = delay, {status = response.status or 200, headers = headers, cookies = response.cookies or {},
                body = response.body or "", chunks = response.chunks}}
        end,
    } or nil)
end

-- weir.dns.resolve looks into `names`: name -> {address, …}, or calls it.
function M.dns(names)
    set("dns", names and {
        resolve = function(_, name, family)
            local found, message, code
            if type(names) == "function" then
                found, message, code = names(name, family)
            else
                found = names[name]
            end
            if found == nil then
                return {n = 3, nil, message or "unknown node or service", code or "ENOTFOUND"}
            end
            return {n = 1, type(found) == "table" and found or {found}}
        end,
    } or nil)
end

local messages = {
    ENOENT = "no such file or directory", EEXIST = "file exists", ENOTEMPTY = "directory not empty",
    EISDIR = "is a directory", EFBIG = "it is larger than `max`",
}

-- weir.fs has these files: path -> content. Returns the table, which changes as the stage writes.
function M.fs(files)
    local folders = {}
    local function fail(path, code)
        return {n = 3, nil, ("%s: %s"):format(path, messages[code]), code}
    end
    local function children(path)
        local prefix = path == "." and "" or path:gsub("/*$", "/")
        local names, seen = {}, {}
        for _, set_of in ipairs {files, folders} do
            for name in pairs(set_of) do
                local child = name:sub(1, #prefix) == prefix and name:sub(#prefix + 1):match("^[^/]+")
                if child and not seen[child] then
                    seen[child] = true
                    names[#names + 1] = child
                end
            end
        end
        table.sort(names)
        return names
    end
    local function is_folder(path)
        return path == "." or folders[path] or #children(path) > 0
    end
    set("fs", files and {
        read = function(_, path, options)
            options = options or {}
            local text = files[path]
            if not text then
                return fail(path, is_folder(path) and "EISDIR" or "ENOENT")
            end
            text = text:sub((options.offset or 0) + 1)
            if options.length then
                text = text:sub(1, options.length)
            elseif options.max and #text > options.max then
                return fail(path, "EFBIG")
            end
            return {n = 1, text}
        end,
        write = function(_, path, data, options)
            if is_folder(path) then
                return fail(path, "EISDIR")
            end
            files[path] = (options and options.append and files[path] or "") .. tostring(data)
            return {n = 1, true}
        end,
        stat = function(_, path)
            if files[path] then
                return {n = 1, {type = "file", size = #files[path], modified = 0.0, mode = 420}}
            end
            if is_folder(path) then
                return {n = 1, {type = "folder", size = 0, modified = 0.0, mode = 493}}
            end
            return fail(path, "ENOENT")
        end,
        list = function(_, path)
            if not is_folder(path) then
                return fail(path, "ENOENT")
            end
            return {n = 1, weir.json.array(children(path))}
        end,
        remove = function(_, path)
            if not files[path] and not folders[path] then
                return fail(path, is_folder(path) and "ENOTEMPTY" or "ENOENT")
            end
            if folders[path] and #children(path) > 0 then
                return fail(path, "ENOTEMPTY")
            end
            files[path], folders[path] = nil, nil
            return {n = 1, true}
        end,
        mkdir = function(_, path)
            if files[path] or is_folder(path) then
                return fail(path, "EEXIST")
            end
            folders[path] = true
            return {n = 1, true}
        end,
        rename = function(_, from, to)
            if not files[from] then
                return fail(from, "ENOENT")
            end
            files[from], files[to] = nil, files[from]
            return {n = 1, true}
        end,
    } or nil)
    return files
end

-- weir.call(port, value) of a stage under test gets what `answer(value)` returns; in an application, `port` is a sink's name.
local callees = {}

function M.call(port, answer)
    if not fakes.call then
        callees = {}
    end
    callees[port] = answer
    set("call", {
        answer = function(sink, value)
            local callee = callees[sink] or callees[sink:match("^sink_(.*)$") or ""]
            if not callee then
                return {n = 0}
            end
            return {n = 1, (callee(value))}
        end,
    })
end

-- ---- a TCP peer ----

local Peer = {}
Peer.__index = Peer

-- What the stage has written: n bytes, or a line without its end; nil when it has closed before.
function Peer:read(n)
    while true do
        if type(n) == "number" and #self.inward >= n then
            local text = self.inward:sub(1, n)
            self.inward = self.inward:sub(n + 1)
            return text
        elseif n == nil or n == "line" then
            local line, rest = self.inward:match("^(.-)\r?\n(.*)$")
            if line then
                self.inward = rest
                return line
            end
        elseif n == "some" and #self.inward > 0 then
            local text = self.inward
            self.inward = ""
            return text
        end
        if self.stage_closed then
            return nil, "closed"
        end
        coroutine.yield()
    end
end

function Peer:write(text)
    self.outward = self.outward .. text
end

function Peer:close()
    self.closed = true
end

-- As a peer that dies: what the stage reads or writes next fails.
function Peer:reset()
    self.broken = true
end

local function run_peer(peer)
    if coroutine.status(peer.thread) ~= "suspended" then
        return
    end
    local ok, why = coroutine.resume(peer.thread, peer)
    if not ok then
        error(why, 0)
    end
    if coroutine.status(peer.thread) == "dead" then
        peer.closed = true
    end
end

-- What a read of the stage gets of the bytes there are: text and how many it takes, or nil.
local function cut(text, what, ended)
    if type(what) == "number" then
        return #text >= what and text:sub(1, what) or nil, what
    elseif what == "line" then
        local line, from = text:match("^(.-)\r?\n()")
        return line, line and from - 1
    elseif what == "all" then
        return ended and text or nil, #text
    end
    return #text > 0 and text or nil, #text
end

-- weir.tcp.connect gets to `serve(peer)`, which reads and writes as the other side; when it returns the connection ends.
-- `peers`: it is asked for each address, and may return nil, message, code.
function M.tcp(serve)
    local peers = {}
    local function check(peer)
        if peer.broken then
            return {n = 4, "done", nil, "connection reset by peer", "ECONNRESET"}
        end
    end
    set("tcp", serve and {
        connect = function(_, host_name, port, options)
            if type(host_name) == "table" then
                options, host_name, port = host_name, host_name.host, host_name.port
            end
            local peer = setmetatable({inward = "", outward = "", host = host_name, port = port, options = options}, Peer)
            peer.thread = coroutine.create(function()
                local refused, message, code = serve(peer)
                if refused == nil and message then
                    peer.refused = {n = 3, nil, message, code or "EIO"}
                end
            end)
            peers[#peers + 1] = peer
            run_peer(peer)
            return peer.refused or {n = 1, #peers}
        end,
        write = function(_, id, data)
            local peer = peers[id]
            if peer.broken or peer.closed and coroutine.status(peer.thread) == "dead" then
                return {n = 3, nil, "broken pipe", "EPIPE"}
            end
            peer.inward = peer.inward .. data
            run_peer(peer)
            return {n = 1, true}
        end,
        read = function(_, id, waited, what, timeout)
            local peer = peers[id]
            run_peer(peer)
            local broken = check(peer)
            if broken then
                return broken
            end
            local text, taken = cut(peer.outward, what, peer.closed)
            if text then
                peer.outward = peer.outward:sub(taken + 1)
                return {n = 2, "done", text}
            end
            if peer.closed then
                return {n = 4, "done", nil, "closed", "EOF"}
            end
            if timeout and waited >= timeout then
                return {n = 4, "done", nil, "nothing came in time", "TIMEOUT"}
            end
            return {n = 1, "wait"}
        end,
        shutdown = function(_, id)
            peers[id].stage_closed = true
            run_peer(peers[id])
            return {n = 1, true}
        end,
        close = function(_, id)
            peers[id].stage_closed = true
            run_peer(peers[id])
            return {n = 0}
        end,
    } or nil)
end

activate() -- each spec file begins without fakes
host.dispatch(function(name, stage, arguments)
    local lib, key = name:match("^(%w+)%.(%w+)$")
    local fake = fakes[lib] and fakes[lib][key]
    if not fake then
        error(("there is no fake for weir.%s"):format(name), 0)
    end
    return fake(stage, unpack(arguments, 1, arguments.n))
end)

return M
