-- Runs in each VM of an application under test, before its script: puts functions in the place of those that reach
-- outside. Only C functions and upvalues are used: no library is open yet, and the script may change those later.
local weir, host = ...
local active, call, count, unpack = host.active, host.call, host.count, host.unpack
local sleep = weir.sleep

local function answer(result)
    if result.delay then
        sleep(result.delay)
    end
    return unpack(result)
end

local function ask(name, ...)
    return answer(call(name, {n = count(...), ...}))
end

-- weir.NAME.*: the spec's, when it has a fake for NAME.
local function replace(name, functions)
    local lib = weir[name]
    if not lib then
        return
    end
    for i = 1, #functions do
        local key = functions[i]
        local real, full = lib[key], name .. "." .. key
        if real then
            lib[key] = function(...)
                if active(name) then
                    return ask(full, ...)
                end
                return real(...)
            end
        end
    end
end

replace("fs", {"read", "write", "stat", "list", "remove", "mkdir", "rename"})
replace("dns", {"resolve"})

-- ---- http ----

local function whole_body(options)
    local copy, text = {}, ""
    for key, value in host.next, options do
        copy[key] = value
    end
    if host.type(options.body) == "function" then
        local chunk = options.body()
        while chunk do
            text = text .. chunk
            chunk = options.body()
        end
        copy.body = text
    end
    return copy
end

local function stream(response)
    local chunks, at = response.chunks or {response.body}, 0
    function response.read()
        at = at + 1
        return chunks[at]
    end
    function response.close()
        at = #chunks
    end
    response.body = nil
    return response
end

local request = weir.http and weir.http.request
if request then
    function weir.http.request(options)
        if not active("http") then
            return request(options)
        end
        if host.type(options) == "string" then
            options = {url = options}
        end
        local response, message, code = ask("http.request", whole_body(options))
        if response and options.stream then
            response = stream(response)
        end
        return response, message, code
    end
end

-- ---- tcp ----

local connect = weir.tcp and weir.tcp.connect
local TURN = 0.001 -- how long a read sleeps before it looks again for what the peer may write later

local function connection(id)
    local conn, closed = {}, false
    function conn.write(_, data)
        if closed then
            return nil, "closed", "ECONNRESET"
        end
        return ask("tcp.write", id, data)
    end
    function conn.read(_, ...)
        local waited = 0
        while true do
            if closed then
                return nil, "closed", "ECONNRESET"
            end
            local state, value, message, code = ask("tcp.read", id, waited, ...)
            if state == "done" then
                return value, message, code
            end
            sleep(TURN)
            waited = waited + TURN
        end
    end
    function conn.shutdown()
        return ask("tcp.shutdown", id)
    end
    function conn.close()
        if not closed then
            closed = true
            ask("tcp.close", id)
        end
    end
    return conn
end

if connect then
    function weir.tcp.connect(...)
        if not active("tcp") then
            return connect(...)
        end
        local id, message, code = ask("tcp.connect", ...)
        if not id then
            return nil, message, code
        end
        return host.closable(connection(id))
    end
end

-- ---- faults ----

local arm, restore, emit = host.arm, host.restore, weir.emit

local function armed(on, ...)
    if on then
        return restore(emit(...))
    end
    return emit(...)
end

function weir.emit(...)
    return armed(arm(...))
end
