-- The first stage of a ring: sends the tokens off, sees each of them once a lap, and keeps the time.
-- /go/KIND/TOKENS/LAPS begins; the answer is "running", then /result tells the seconds it took. A request is its own token
-- and its answer the seconds.
local weir = require "weir"

local home, tokens, laps, began, took
local laps_left = 0 -- of the request that circles

local function make(kind)
    if kind == "integer" then
        return laps
    end
    return {name = "a token", path = "/some/where", left = laps, ratio = 0.25, good = true}
end

local function come_home()
    home = home + 1
    if home == tokens then
        took = weir.now() - began
    end
end

local function begin(req, kind, count, rounds)
    home, tokens, laps, took = 0, tonumber(count), tonumber(rounds), nil
    if kind == "request" then
        laps_left, began = laps, weir.now()
        return assert(weir.emit("next", req))
    end
    req:reply(200, "running")
    began = weir.now()
    for _ = 1, tokens do
        assert(weir.emit("next", make(kind)))
    end
end

local function see_request(req)
    if req.path == "/result" then
        return req:reply(200, took and ("%.9f"):format(took) or "running")
    end
    if laps_left == 0 then
        local kind, count, rounds = req.path:match("^/go/(%l+)/(%d+)/(%d+)$")
        return begin(req, kind, count, rounds)
    end
    laps_left = laps_left - 1
    if laps_left > 0 then
        return assert(weir.emit("next", req))
    end
    req:reply(200, ("%.9f"):format(weir.now() - began))
end

return function(token)
    if math.type(token) == "integer" then
        if token > 1 then
            return assert(weir.emit("next", token - 1))
        end
        return come_home()
    elseif type(token) == "table" then
        if token.left > 1 then
            token.left = token.left - 1
            return assert(weir.emit("next", token))
        end
        return come_home()
    end
    see_request(token)
end
