-- What a host counts, for specs that hold it against what clients saw.
local json = require "cjson"
local support = require "tests.e2e.support"
local assert = require "luassert"

local M = {}

local OUTCOMES <const> = {"rejected", "handled", "failed", "expired", "dropped"}

-- /v1/stats of the host with this admin socket.
function M.stats(admin)
    local text = support.shell(("curl -s -m 20 --unix-socket %s http://localhost/v1/stats"):format(support.quote(admin)))
    assert.truthy(text:match("^{"), "no stats from " .. admin .. ": " .. text)
    return json.decode(text)
end

-- The events offered in all stages; nil when something is under way.
local function offered_at_rest(stats)
    local offered = 0
    for _, stage in pairs(stats.stages) do
        local l = stage.ledger
        if l.queued ~= 0 or l.running ~= 0 or l.waiting ~= 0 or l.unsettled ~= 0 then
            return nil
        end
        offered = offered + l.offered
    end
    return offered
end

-- Waits until nothing is under way (twice, with nothing offered between: an event that moves can be missed once).
function M.rest(admin, seconds)
    local before
    return support.wait(seconds or 20, "rest of " .. admin, function()
        local stats = M.stats(admin)
        local offered = offered_at_rest(stats)
        local same = offered and offered == before
        before = offered
        return same and stats
    end)
end

-- Both equations of every stage, and a reason for every event that was not handled.
function M.check(stats)
    for name, stage in pairs(stats.stages) do
        local l = stage.ledger
        local function equal(expected, found, what)
            assert.equal(expected, found, ("%s: %s in %s"):format(name, what, json.encode(l)))
        end
        equal(l.offered, l.accepted + l.rejected, "offered = accepted + rejected")
        equal(l.accepted, l.handled + l.expired + l.dropped + l.failed + l.queued + l.running, "accepted = the sum")
        equal(0, l.unsettled, "unsettled")
        equal(0, stage.queue.depth, "depth")
        equal(0, stage.queue.bytes, "bytes")
        for _, outcome in ipairs(OUTCOMES) do
            local sum = 0
            for _, count in pairs(stage.reasons[outcome] or {}) do
                sum = sum + count
            end
            equal(outcome == "handled" and 0 or l[outcome], sum, "reasons of " .. outcome)
        end
    end
end

-- Rest, checked. Returns the stats.
function M.closed(admin, seconds)
    local stats = M.rest(admin, seconds)
    M.check(stats)
    return stats
end

-- A count by reason, 0 when there is none.
function M.reason(stats, stage, outcome, reason)
    local reasons = assert(stats.stages[stage], stage).reasons[outcome]
    return reasons and reasons[reason] or 0
end

-- Final answers counted by an HTTP source, those to malformed requests left out.
function M.answers(http)
    local all = http.answers_2xx + http.answers_3xx + http.answers_4xx + http.answers_5xx
    return all - http.malformed - http.too_large - http.timeout_header - http.timeout_body - http.refused
end

return M
