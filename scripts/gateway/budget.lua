-- What retries may cost: a bucket of tokens that all workers share. A request puts a tenth of a token in, a retry
-- takes a whole one, so that retries are at most a tenth of the requests, and a service that is down is not asked
-- twice as often.
local weir = require "weir"

local M = {}
local PARTS <const> = 10      -- of a token
local MOST <const> = 10 * PARTS -- what may be saved up for a burst of failures

local tokens

function M.open(name)
    tokens = weir.shared(name)
end

-- A request begins.
function M.earn(key)
    if (tokens:incr(key, 1, MOST) or 0) > MOST then
        tokens:incr(key, -1)
    end
end

-- Whether there is a retry to be had: it is taken then.
function M.take(key)
    if (tokens:incr(key, -PARTS, MOST) or -1) >= 0 then
        return true
    end
    tokens:incr(key, PARTS)
    return false
end

return M
