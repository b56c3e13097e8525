-- weir.test: stages and applications under test. `host` is the part in C, `fakes` test_fakes.lua.
local host, weir, fakes = ...

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

-- ---- events of a tap ----

local REQUEST = "<request>" -- how a tap shows where an event has its request

local function put_request(value, request)
    if value == REQUEST then
        return request
    end
    if type(value) == "table" then
        for key, inner in pairs(value) do
            value[key] = put_request(inner, request)
        end
    end
    return value
end

local function event_of(line, where)
    local one, why = weir.json.decode(line)
    if type(one) ~= "table" or (one.value == nil and not one.value_cut) then
        error(("t.events: %s: not a line of `weir tap`: %s"):format(where, why or line:sub(1, 60)), 3)
    end
    local r = one.request
    if one.value_cut or (r and r.body_bytes) then
        error(("t.events: %s: the event, or the body of its request, was too large to be saved"):format(where), 3)
    end
    local value = one.value
    if value == weir.json.null then value = nil end
    if r then
        r.headers["content-length"], r.headers["transfer-encoding"], r.path = nil, nil, r.target:match("^[^?]*")
        value = put_request(value, M.request(r))
    end
    return {event = value, stage = one.stage, options = {class = one.class ~= "normal" and one.class or nil, key = one.key}}
end

-- What `weir tap STAGE --save FILE` has saved: a list of {event=, options=, stage=} for stage:handle and app:send.
function M.events(path)
    local file, why = io.open(path)
    if not file then
        error("t.events: " .. why, 2)
    end
    local events = {}
    for line in file:lines() do
        events[#events + 1] = event_of(line, ("%s:%d"):format(path, #events + 1))
    end
    file:close()
    return events
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

-- A handler as a stage of its own, its ports wired to sinks that record. `options`: ports (a list), name, and what a stage has
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

-- Each event that a tap has saved, or of a list of such; the results in their order.
function Stage:replay(events)
    local results = {}
    for i, one in ipairs(type(events) == "string" and M.events(events) or events) do
        results[i] = self:handle(one.event, one.options)
    end
    return results
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

M.fake = fakes
M.weir = weir
return M
