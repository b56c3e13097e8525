-- Which server of a route is asked next: in turn, those that failed lately left out. A worker learns by its own requests.
-- luacheck: no max line length
local M = {}
M.__index = M

local FAILURES <const> = 3 -- in a row: then it is left out
local FIRST_PAUSE <const>, LONGEST_PAUSE <const> = 1, 30 -- seconds, doubled each time

function M.new(urls)
    local list = setmetatable({next = 1}, M)
    for i, url in ipairs(urls) do
        list[i] = {url = url:gsub("/$", ""), failures = 0, pause = FIRST_PAUSE, back = 0}
    end
    assert(#list > 0, "a route needs upstreams")
    return list
end

-- An upstream that is up, or whose pause is over, other than those in `tried`; nil: there is none.
function M:pick(now, tried)
    for step = 0, #self - 1 do
        local at = (self.next + step - 1) % #self + 1
        local up = self[at]
        if up.back <= now and not (tried and tried[up]) then
            self.next = at % #self + 1
            if up.failures >= FAILURES then
                up.back = now + up.pause -- one request tries it; the others go elsewhere until that one is back
            end
            return up
        end
    end
    return nil
end

function M.succeeded(up)
    up.failures, up.pause, up.back = 0, FIRST_PAUSE, 0
end

-- True when it is left out from now on.
function M.failed(up, now)
    up.failures = up.failures + 1
    if up.failures < FAILURES then
        return false
    end
    if up.failures > FAILURES then
        up.pause = math.min(2 * up.pause, LONGEST_PAUSE)
    end
    up.back = now + up.pause
    return true
end

return M
