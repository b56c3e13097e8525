-- weir.test: stages and applications under test. `host` is the part in C.
local host, weir = ...
local unpack = table.unpack

local M = {}

-- ---- the clock ----

M.clock = setmetatable({}, {
    __index = function(_, key)
        if key == "now" then
            return host.now()
        end
    end,
    __newindex = function()
        error("the clock is moved by t.clock:advance(seconds)", 2)
    end,
})

rawset(M.clock, "advance", function(_, seconds)
    host.advance(seconds)
end)

-- ---- requests ----

local function header_lines(headers)
    local names, lines = {}, {}
    for name in pairs(headers) do
        names[#names + 1] = name
    end
    table.sort(names)
    for _, name in ipairs(names) do
        local value = headers[name]
        for _, one in ipairs(type(value) == "table" and value or {value}) do
            lines[#lines + 1] = ("%s: %s\r\n"):format(name, tostring(one))
        end
    end
    return table.concat(lines)
end

local request_keys = {}
for name in ("method path query target headers body remote version stream json"):gmatch("%a+") do
    request_keys[name] = true
end

-- A request, as a client would send it. It can be handled once.
function M.request(spec)
    if type(spec) == "string" then
        spec = {path = spec}
    end
    spec = spec or {}
    local r = {headers = {}}
    for key, value in pairs(spec) do
        if not request_keys[key] then
            error(("t.request: there is no '%s'; there are method, path, query, target, headers, body, json, remote, "
                .. "version, stream"):format(tostring(key)), 2)
        end
        r[key] = value
    end
    local lower = {}
    r.headers = {}
    for name, value in pairs(spec.headers or {}) do
        r.headers[name] = value
        lower[name:lower()] = true
    end
    if spec.json ~= nil then
        r.body = assert(weir.json.encode(spec.json))
        if not lower["content-type"] then
            r.headers["content-type"] = "application/json"
        end
    end
    r.method = spec.method or (r.body and "POST" or "GET")
    r.path = spec.path or "/"
    r.version = spec.version or "1.1"
    r.remote = spec.remote or "127.0.0.1"
    r.target = spec.target or r.path .. (spec.query and "?" .. spec.query or "")
    if not lower.host then
        r.headers.host = "example.org"
    end
    if (r.body or r.method == "POST" or r.method == "PUT") and not lower["content-length"]
        and not lower["transfer-encoding"] then
        r.headers["content-length"] = #(r.body or "")
    end
    r.raw = ("%s %s HTTP/%s\r\n%s\r\n%s"):format(r.method, r.target, r.version, header_lines(r.headers), r.body or "")
    return host.request(r)
end

local function is_request(value)
    return type(value) == "userdata" and tostring(value) == "request under test"
end

-- The request in an event: itself, or in a table of it.
local function find_request(value, seen)
    if is_request(value) then
        return value
    end
    if type(value) ~= "table" or seen[value] then
        return nil
    end
    seen[value] = true
    for _, inner in pairs(value) do
        local found = find_request(inner, seen)
        if found then
            return found
        end
    end
end

-- ---- answers ----

local function read_chunks(text)
    local chunks, at = {}, 1
    while true do
        local size, from = text:match("^(%x+)[^\r\n]*\r\n()", at)
        size = tonumber(size or "", 16)
        if not size or (size > 0 and #text < from + size + 1) then
            return chunks, false
        end
        if size == 0 then
            return chunks, text:find("\r\n", from, true) ~= nil
        end
        chunks[#chunks + 1] = text:sub(from, from + size - 1)
        at = from + size + 2
    end
end

local bodiless = {[204] = true, [304] = true}

-- What a client makes of these bytes; nil: no answer yet. `complete`: it has all of it.
local function read_answer(text, ended, method)
    while text:match("^HTTP/1%.1 1%d%d ") do
        text = text:match("\r\n\r\n(.*)$") or ""
    end
    local status, reason, head, from = text:match("^HTTP/1%.[01] (%d%d%d) ?([^\r\n]*)\r\n(.-\r\n)\r\n()")
    if not status then
        status, reason, from = text:match("^HTTP/1%.[01] (%d%d%d) ?([^\r\n]*)\r\n\r\n()")
        head = ""
    end
    if not status then
        return nil
    end
    local answer = {status = tonumber(status), reason = reason, headers = {}, complete = false}
    for name, value in head:gmatch("([^:\r\n]+):[ \t]*([^\r\n]*)\r\n") do
        name = name:lower()
        local before = answer.headers[name]
        answer.headers[name] = before and before .. ", " .. value or value
    end
    local length = tonumber(answer.headers["content-length"])
    local rest = text:sub(from)
    if method == "HEAD" or bodiless[answer.status] then
        answer.body, answer.complete = "", true
    elseif (answer.headers["transfer-encoding"] or ""):lower() == "chunked" then
        answer.chunks, answer.complete = read_chunks(rest)
        answer.body = table.concat(answer.chunks)
    elseif length then
        answer.body, answer.complete = rest:sub(1, length), #rest >= length
    else
        answer.body, answer.complete = rest, ended
    end
    answer.cut = ended and not answer.complete
    return answer
end

-- ---- what became of it ----

local Result = {}
Result.__index = Result

local function rethrow(app)
    local raised, what = app.handle:take_error()
    if raised then
        error(what, 0)
    end
end

local function newest_failure(app)
    local f = app.handle:failures()[1]
    return f and f.number or 0
end

local function ledgers(app)
    local all = {}
    for _, stage in ipairs(app.stages) do
        all[stage.name] = app.handle:ledger(stage.name)
    end
    return all
end

local function begin(app, stage)
    return setmetatable({
        app = app, stage = stage, emitted = {}, seen = newest_failure(app), before = ledgers(app), conns = {}, pending = false,
    }, Result)
end

-- The test's view of a result, without its bookkeeping.
function Result:look_at_answers()
    for _, conn in ipairs(self.conns) do
        if not conn.done then
            local bytes, ended = host.received(self.app.handle, conn.id)
            conn.answer = bytes and read_answer(bytes, ended, conn.method) or nil
            if conn.answer and (conn.answer.complete or ended) then
                conn.done = true
                host.hang_up(self.app.handle, conn.id)
            end
        end
    end
    self.answer = self.conns[1] and self.conns[1].answer
    self.answers = {}
    for i, conn in ipairs(self.conns) do
        self.answers[i] = conn.answer
    end
end

function Result:look_at_ledgers()
    local changes = {expired = 0, running = 0, waiting = 0, queued = 0}
    for name, now in pairs(ledgers(self.app)) do
        local kind = self.app.kinds[name]
        if not self.stage or name == self.stage then
            changes.expired = changes.expired + now.expired - self.before[name].expired
        end
        if kind == "handler" then
            changes.running = changes.running + now.running
            changes.queued = changes.queued + now.queued
        end
        changes.waiting = changes.waiting + now.waiting
    end
    self.expired = changes.expired > 0
    self.pending = changes.running + changes.waiting + changes.queued > 0
    for _, f in ipairs(self.app.handle:failures()) do
        if f.number > self.seen and (not self.stage or f.stage == self.stage) then
            self.failed = {reason = f.reason, error = f.error, stage = f.stage}
        end
    end
end

-- Looks again: time has gone by, or a test has let something happen.
function Result:finish()
    self.app.handle:pump()
    for _, one in ipairs(self.app.handle:captured()) do
        one.port = self.app.port_of[one.stage]
        self.emitted[#self.emitted + 1] = one
    end
    self:look_at_ledgers()
    self:look_at_answers()
    rethrow(self.app)
    return self
end

-- The client goes before it has its answer.
function Result:hang_up()
    for _, conn in ipairs(self.conns) do
        if not conn.done then
            conn.done = true
            host.hang_up(self.app.handle, conn.id)
        end
    end
    return self:finish()
end

-- Lets real time go by until nothing runs any more, for what is really outside. -> whether nothing does
function Result:wait(seconds)
    self.app.handle:wait(seconds)
    self:finish()
    return not self.pending
end

-- The events that went to one port.
function Result:from(port)
    local events = {}
    for _, one in ipairs(self.emitted) do
        if one.port == port then
            events[#events + 1] = one.event
        end
    end
    return events
end

local function send(result, stage, event, options)
    local request = find_request(event, {})
    local verdict, conn = result.app.handle:send(stage, event, options, request)
    if verdict ~= "accepted" and verdict ~= "waiting" then
        result.refused = verdict
    end
    if conn then
        result.conns[#result.conns + 1] = {id = conn, method = request.method}
    end
end

-- ---- applications ----

local App = {}
App.__index = App

local function open(source)
    local handle, why = host.open(source)
    if not handle then
        error(why, 3)
    end
    local app = setmetatable({handle = handle, stages = handle:stages(), kinds = {}, port_of = {}}, App)
    for _, stage in ipairs(app.stages) do
        app.kinds[stage.name] = stage.kind
        app.port_of[stage.name] = stage.name
    end
    return app
end

-- A whole application in process. Its sources are not opened, its sinks record; `sets` as for --set.
function M.app(path, sets)
    local list = {}
    for key, value in pairs(sets or {}) do
        list[#list + 1] = key
        list[#list + 1] = type(value) == "string" and value or assert(weir.json.encode(value))
    end
    return open {path = path or ".", sets = list}
end

function App:send(stage, event, options)
    local result = begin(self)
    send(result, stage, event, options)
    return result:finish()
end

-- Without letting anything run yet.
function App:offer(stage, event, options)
    local result = begin(self)
    send(result, stage, event, options)
    return result
end

App.request = App.send

function App:run()
    self.handle:pump()
    rethrow(self)
    return self
end

function App:wait(seconds)
    local rests = self.handle:wait(seconds)
    rethrow(self)
    return rests
end

function App:ledger(stage)
    return self.handle:ledger(stage)
end

function App:queued(stage)
    return self.handle:queued(stage)
end

function App:hold(...)
    for _, stage in ipairs {...} do
        self.handle:hold(stage, true)
    end
end

function App:release(...)
    for _, stage in ipairs {...} do
        self.handle:hold(stage, false)
    end
    return self:run()
end

-- What has arrived at sinks and was not told by a result: a list, or that of one sink.
function App:arrived(sink)
    self.arrivals = self.arrivals or {}
    for _, one in ipairs(self.handle:captured()) do
        self.arrivals[#self.arrivals + 1] = one
    end
    local list, rest = {}, {}
    for _, one in ipairs(self.arrivals) do
        local into = (not sink or one.stage == sink) and list or rest
        into[#into + 1] = one
    end
    self.arrivals = rest
    return list
end

function App:failures()
    return self.handle:failures()
end

function App:memory(stage)
    return self.handle:memory(stage)
end

function App:close()
    self.handle:close()
end

-- ---- one stage ----

local Stage = {}
Stage.__index = Stage

-- The ports that a script names where it emits, and `out`.
local function ports_of(file)
    local found, list = {out = true}, {}
    local f = io.open(file)
    local text = f and f:read("a") or ""
    if f then
        f:close()
    end
    for port in text:gmatch("emit%s*%(?%s*[\"']([%w_-]+)[\"']") do
        found[port] = true
    end
    for port in text:gmatch("weir%.call%s*%(?%s*[\"']([%w_-]+)[\"']") do
        found[port] = true
    end
    for list_text in text:gmatch("emit_all%s*%(?%s*(%b{})") do
        for port in list_text:gmatch("{%s*[\"']([%w_-]+)[\"']") do
            found[port] = true
        end
    end
    for port in pairs(found) do
        list[#list + 1] = port
    end
    table.sort(list)
    return list
end

local function stage_name(file)
    local name = file:match("([^/]+)$"):gsub("%.lua$", ""):lower():gsub("[^a-z0-9_-]", "_")
    return name:match("^[a-z]") and name or "stage_" .. name
end

local own_keys = {name = true, ports = true, classes = true, shared = true}

-- A handler as a stage of its own, all its ports wired to sinks that record. `options`: ports (a list), name, and what a stage has
-- in weir.yaml: libs, limits, queue, batch, concurrency …
function M.stage(file, config, options)
    options = options or {}
    if type(file) ~= "string" then
        error("t.stage: the first argument is the handler's file", 2)
    end
    local name = options.name or stage_name(file)
    local ports = options.ports or ports_of(file)
    local stage = {handler = file, to = {}, config = config}
    local app = {weir = 1, name = "test", stages = {[name] = stage}, classes = options.classes}
    app.shared = options.shared or {["*"] = {bytes = 64 << 20}}
    for key, value in pairs(options) do
        if not own_keys[key] then
            stage[key] = value
        end
    end
    local port_of = {}
    for _, port in ipairs(ports) do
        local sink = "sink_" .. port
        app.stages[sink] = {sink = "null", queue = {capacity = 65536}}
        stage.to[port] = sink
        port_of[sink] = port
    end
    app.stages._in = {source = "test", to = name}
    if options.on_error == true then
        stage.on_error = "sink_on_error"
        app.stages.sink_on_error = {sink = "null"}
        port_of.sink_on_error = "on_error"
    end
    local text, why = weir.json.encode(app)
    if not text then
        error("t.stage: " .. why, 2)
    end
    local opened = open {text = text, name = file, folder = "."}
    opened.port_of = port_of
    return setmetatable({app = opened, name = name}, Stage)
end

-- Sends the event and lets everything happen that can happen without time going by.
function Stage:handle(event, options)
    local result = begin(self.app, self.name)
    send(result, "_in", event, options)
    return result:finish()
end

-- The events as one batch.
function Stage:handle_batch(events, options)
    local result = begin(self.app, self.name)
    self.app.handle:hold(self.name, true)
    for i = 1, events.n or #events do
        send(result, "_in", events[i], options)
    end
    self.app.handle:hold(self.name, false)
    return result:finish()
end

-- What happened since the last result: what timers and fibers emitted, say.
function Stage:pump()
    return begin(self.app, self.name):finish()
end

function Stage:ledger()
    return self.app.handle:ledger(self.name)
end

function Stage:memory()
    return self.app.handle:memory(self.name)
end

function Stage:close()
    self.app.handle:close()
end

-- ---- fakes ----

local fakes = {}
M.fake = {}

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
function M.fake.none()
    fakes = {}
    activate()
end

-- weir.http.request asks `answer(request)`, which returns {status=, headers=, body=, delay=} or nil, message, code.
function M.fake.http(answer)
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
function M.fake.dns(names)
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
function M.fake.fs(files)
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

-- weir.tcp.connect gets to `serve(peer)`, a function that reads and writes as the other side; when it returns the connection ends.
-- `peers`: it is asked for each address, and may return nil, message, code.
function M.fake.tcp(serve)
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

host.dispatch(function(name, stage, arguments)
    local lib, key = name:match("^(%w+)%.(%w+)$")
    local fake = fakes[lib] and fakes[lib][key]
    if not fake then
        error(("there is no fake for weir.%s"):format(name), 0)
    end
    return fake(stage, unpack(arguments, 1, arguments.n))
end)

-- ---- faults ----

M.fault = {}

local function order(target, port, n, kind)
    local app = target.app or target
    host.fault(app.handle, target.app and target.name or nil, port, n, kind)
end

-- The next `n` (default: all) emits of the stage to `port` are refused: "full".
function M.fault.full(target, port, n)
    order(target, port, n, "full")
end

-- The same: "closed".
function M.fault.closed(target, port, n)
    order(target, port, n, "closed")
end

-- No more refusals.
function M.fault.none(target)
    host.clear_faults((target.app or target).handle)
end

local texts = {
    ECONNREFUSED = "connection refused", ECONNRESET = "connection reset by peer", TIMEOUT = "timed out",
    ENOTFOUND = "unknown node or service", EHOSTUNREACH = "host is unreachable", EPIPE = "broken pipe",
}

-- What a fake returns to fail so: t.fake.http(function() return t.fault.error("ECONNREFUSED") end)
function M.fault.error(code, message)
    return nil, message or texts[code] or code, code
end

function M.fault.timeout()
    return M.fault.error("TIMEOUT")
end

M.weir = weir
return M
