-- The stage: a request is routed, answered from memory or by an upstream, tried again elsewhere if that is safe, and
-- luacheck: no max line length
-- its answer passed on as it comes.
local weir = require "weir"
local budget = require "budget"
local cache = require "cache"
local headers = require "headers"
local upstreams = require "upstreams"

local M = {}

local WHOLE <const> = 64 * 1024 -- answers up to here are passed on in one piece
local MOST_TRIES <const> = 3
local SAFE <const> = {GET = true, HEAD = true, OPTIONS = true}
local BAD_STATUS <const> = {[502] = true, [503] = true, [504] = true}
-- The upstream has seen nothing of the request.
local NOT_SENT <const> = {ECONNREFUSED = true, ENOTFOUND = true, EHOSTUNREACH = true, ENETUNREACH = true, ENOENT = true, TLS_HANDSHAKE = true,
    CERT_UNTRUSTED = true, CERT_NAME_MISMATCH = true, CERT_EXPIRED = true}

local routes, kept
local retries = weir.counter "gateway_retries"
local hits = weir.counter "gateway_cache_hits"

function M.init(ctx)
    local config = ctx.config
    routes = {}
    for i, route in ipairs(config.routes) do
        assert(type(route.path) == "string" and route.path:sub(1, 1) == "/", "routes: each needs a path that begins with '/'")
        routes[i] = {path = route.path, servers = upstreams.new(route.upstreams), strip = route.strip, cache = route.cache,
            keep_host = route.keep_host, timeout = route.timeout or 30, connect_timeout = route.connect_timeout or 2}
    end
    table.sort(routes, function(a, b) return #a.path > #b.path end)
    kept = cache.new((config.cache_mebibytes or 32) << 20)
    budget.open "gateway"
    weir.http.limits {per_host = config.per_host or 256}
end

-- Whole segments: `/api` takes `/api`, `/api/x` and `/api?q`, not `/apikeys`.
local function fits(target, prefix)
    return target:sub(1, #prefix) == prefix and (prefix:sub(-1) == "/" or target:find("^[/?]", #prefix + 1) or #target == #prefix)
end

-- By the target as it was sent, which is what `strip` cuts: an escaped letter is another path.
local function find_route(target)
    for _, route in ipairs(routes) do
        if fits(target, route.path) then
            return route
        end
    end
    return nil
end

local function refuse(req, status, text)
    if req:alive() then
        req:reply(status, {["content-type"] = "text/plain"}, text .. "\n")
    end
end

-- ---- the request ----

-- A function that reads the client's body, and what became of it; nil when there is none.
local function body_of(req)
    local length = req.headers["content-length"]
    if not length and not req.headers["transfer-encoding"] or length == "0" and SAFE[req.method] then
        return nil
    end
    local state = {size = tonumber(length)}
    function state.read()
        state.begun = true
        local chunk, why = req:read()
        if not chunk and why then
            state.broken = why
            error(state, 0)
        end
        return chunk
    end
    return state
end

local function ask(req, route, server, body)
    local target = req.target
    if route.strip then
        target = "/" .. target:sub(#route.path + 1):gsub("^/", "")
    end
    local ok, answer, why, code = pcall(weir.http.request, {
        url = server.url .. target, method = req.method, headers = headers.to_upstream(req, route.keep_host), body = body and body.read,
        body_size = body and body.size, stream = true, redirects = 0, timeout = route.timeout, connect_timeout = route.connect_timeout,
    })
    if ok then
        return answer, why, code
    elseif answer == body then
        return nil, "the client's body broke off", "CLIENT"
    end
    return nil, tostring(answer), "BAD_URL"
end

local function may_retry(req, body, code, status)
    if body and body.begun then
        return false
    end
    return SAFE[req.method] or status == nil and NOT_SENT[code] or false
end

-- An answer that has begun, or nil and why the last try failed.
local function try(req, route)
    local body, tried = body_of(req), {}
    local answer, why, code
    budget.earn(route.path)
    for attempt = 1, MOST_TRIES do
        local server = route.servers:pick(weir.now(), tried)
        if not server then
            break
        elseif attempt > 1 then
            if not budget.take(route.path) then
                break
            end
            retries:inc()
            if answer then
                answer:close()
            end
        end
        tried[server] = true
        answer, why, code = ask(req, route, server, body)
        if code == "CLIENT" then
            return nil, why, code, body.broken
        elseif answer and not BAD_STATUS[answer.status] then
            upstreams.succeeded(server)
            return answer
        end
        if upstreams.failed(server, weir.now()) then
            weir.log.warn("an upstream is left out for a while", {url = server.url, why = why or answer.status})
        end
        if not may_retry(req, body, code, answer and answer.status) then
            break
        end
    end
    return answer, why or "no upstream is up", code or "DOWN"
end

-- ---- the answer ----

-- Its body when it is small, all of it; else nil and what was read so far. nil, nil, message: it broke off.
local function read_small(answer)
    local parts, size = {}, 0
    if (tonumber(answer.headers["content-length"] or "0") or 0) > WHOLE then
        return nil, ""
    end
    while size <= WHOLE do
        local chunk, why = answer:read()
        if not chunk then
            if why then
                return nil, nil, why
            end
            return table.concat(parts)
        end
        parts[#parts + 1], size = chunk, size + #chunk
    end
    return nil, table.concat(parts)
end

local function pass_on(req, answer, head, begun)
    local path = req.path
    local out = req:start(answer.status, head)
    local ok = begun == "" or out:write(begun)
    while ok do
        local chunk, why = answer:read()
        if not chunk then
            if why then
                weir.log.warn("an answer broke off", {path = path, why = why})
                return -- the stream is cut: the client sees that it is not whole
            end
            break
        end
        ok = out:write(chunk)
    end
    if ok then
        out:close()
    end
end

local function has_no_body(req, status)
    return req.method == "HEAD" or status == 204 or status == 304
end

local function deliver(req, key, answer)
    local head = headers.to_client(answer)
    if has_no_body(req, answer.status) then
        return req:reply(answer.status, head)
    end
    local streams = (answer.headers["content-type"] or ""):find("^text/event%-stream")
    local body, begun, broken
    if streams then
        begun = ""
    else
        body, begun, broken = read_small(answer)
    end
    if broken then
        return refuse(req, 502, "the upstream's answer broke off")
    elseif not body then
        return pass_on(req, answer, head, begun)
    end
    local seconds = key and cache.lifetime(answer)
    if seconds then
        kept:put(key, {status = answer.status, headers = head, body = body}, weir.now(), seconds)
    end
    req:reply(answer.status, head, body)
end

local function answer_from_cache(req, entry, now)
    local head = {age = tostring(math.floor(now - entry.stored)), ["x-cache"] = "hit"}
    for name, value in pairs(entry.headers) do
        head[name] = value
    end
    hits:inc()
    req:reply(entry.status, head, entry.body)
end

local function cache_key(req, route)
    if not route.cache or req.method ~= "GET" or req.headers.authorization or req.headers.cookie then
        return nil
    end
    return (req.headers.host or "") .. req.target
end

local CLIENT_STATUS <const> = {timeout = 408, limit = 413}

function M.handle(req)
    local route = find_route(req.target)
    if not route then
        return refuse(req, 404, "no route")
    end
    local key = cache_key(req, route)
    local entry = key and kept:get(key, weir.now())
    if entry then
        return answer_from_cache(req, entry, weir.now())
    end
    local answer, why, code, broken = try(req, route)
    if answer then
        local whole <close> = answer
        return deliver(req, key, whole)
    elseif code == "CLIENT" then
        return refuse(req, CLIENT_STATUS[broken] or 400, why)
    elseif code == "TIMEOUT" then
        return refuse(req, 504, "the upstream took too long")
    elseif code == "DOWN" then
        return refuse(req, 503, why)
    end
    refuse(req, 502, "no answer from the upstream: " .. code)
end

return M
