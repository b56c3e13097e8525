-- The SEDA paper's figures, repeated: what threads and events do (2 and 4), what controllers do over time (8, 9, 13, recovery) and servers under ever
-- more clients (12, 14). Plots go to docs/paper; its README.md says what was the same as in the paper and what differs.
-- `tests/bench/run paper fig8` draws one of them.
local place = require "place"
local plot = require "plot"

local M = {}

-- Draws `what` (plot.lua) to docs/paper/NAME.svg; in a quick run, which proves nothing, to build/bench.
local function draw(options, name, what)
    local folder = options.patience > 0 and place.top .. "/docs/paper" or place.out
    place.shell("mkdir -p " .. place.quote(folder))
    place.write(("%s/%s.svg"):format(folder, name), plot.draw(what))
end

local figures <const> = {"threads", "control", "load"}

return function(options, report)
    local wanted, known = options.words[1], {}
    for _, file in ipairs(figures) do
        for _, figure in ipairs(require("paper_" .. file)) do
            known[#known + 1] = figure.name
            if not wanted or wanted == figure.name then
                report:say ""
                figure.run(options, report, function(name, what) draw(options, name, what) end)
                wanted = wanted and "" or nil
            end
        end
    end
    if wanted and wanted ~= "" then
        error(("there is no figure '%s': %s"):format(wanted, table.concat(known, ", ")), 0)
    end
    return M
end
