-- Draws line plots as SVG: axes linear or logarithmic, one or two scales for y, a legend. Readable on a light and on a dark page.
local M = {}

local WIDTH <const>, HEIGHT <const> = 640, 360
local LEFT <const>, RIGHT <const>, TOP <const>, BOTTOM <const> = 70, 70, 42, 76
local COLOURS <const> = {"#2f7ed8", "#d9534f", "#3c9d4e", "#a064c8", "#e0952b", "#4aa8b5", "#8a8f98"}

local function escape(text)
    return (tostring(text):gsub("[&<>\"]", {["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ["\""] = "&quot;"}))
end

-- "1.5k"; powers of two in units of 1024.
local function short(value, binary)
    local kilo = binary and 1024 or 1000
    for _, unit in ipairs {{kilo * kilo, "M"}, {kilo, "k"}} do
        if math.abs(value) >= unit[1] * 0.9999 then
            return (("%.3g"):format(value / unit[1]) .. unit[2])
        end
    end
    return ("%.3g"):format(value)
end

-- Least and greatest of coordinate `i` of those series that `wanted` names.
local function range(series, i, wanted)
    local least, most = math.huge, -math.huge
    for _, s in ipairs(series) do
        if wanted(s) then
            for _, point in ipairs(s.points) do
                least, most = math.min(least, point[i]), math.max(most, point[i])
            end
        end
    end
    return least, most
end

-- 1, 2 or 5 times a power of ten, so that there are some five steps.
local function step_of(span)
    local power = 10 ^ math.floor(math.log(span / 5, 10))
    for _, factor in ipairs {1, 2, 5, 10} do
        if span / (power * factor) <= 6 then
            return power * factor
        end
    end
end

-- An axis: its ticks, and `at(value)`, from 0 to 1.
local function scale(options, least, most)
    if options.log then
        local base = options.log == true and 10 or options.log
        local low, high = math.floor(math.log(math.max(least, 1e-9), base) + 1e-9), math.ceil(math.log(math.max(most, 1e-9), base) - 1e-9)
        high = math.max(high, low + 1)
        local every, ticks = math.max(1, (high - low) // 8), {}
        for power = low, high, every do
            ticks[#ticks + 1] = base ^ power
        end
        return {ticks = ticks, at = function(value)
            return (math.log(math.max(value, base ^ low), base) - low) / (high - low)
        end}
    end
    local from = options.from or math.min(0, least)
    local step = step_of(math.max(most - from, 1e-9))
    local to, ticks = options.tight and most or from + math.ceil((most - from) / step - 1e-9) * step, {}
    for i = 0, math.floor((to - from) / step + (options.tight and 1e-9 or 0.5)) do
        ticks[#ticks + 1] = from + i * step
    end
    return {ticks = ticks, at = function(value) return (value - from) / math.max(to - from, 1e-9) end}
end

local function text(out, x, y, content, rest)
    out[#out + 1] = ('<text x="%.1f" y="%.1f" %s>%s</text>'):format(x, y, rest or "", escape(content))
end

local function line(out, x1, y1, x2, y2, class)
    out[#out + 1] = ('<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" class="%s"/>'):format(x1, y1, x2, y2, class)
end

local STYLE <const> = [[
<style>
text { font: 12px sans-serif; fill: #333 } .title { font-size: 14px; font-weight: bold } .grid { stroke: #8884 } .axis { stroke: #888 }
path { fill: none; stroke-width: 2; stroke-linejoin: round } rect.page { fill: #fff }
@media (prefers-color-scheme: dark) { text { fill: #ccc } rect.page { fill: #16181c } }
</style>]]

local function x_of(axis, value)
    return LEFT + axis.at(value) * (WIDTH - LEFT - RIGHT)
end

local function y_of(axis, value)
    return HEIGHT - BOTTOM - axis.at(value) * (HEIGHT - TOP - BOTTOM)
end

local function draw_axes(out, plot, x, y, y2)
    for _, tick in ipairs(x.ticks) do
        line(out, x_of(x, tick), TOP, x_of(x, tick), HEIGHT - BOTTOM, "grid")
        text(out, x_of(x, tick), HEIGHT - BOTTOM + 16, short(tick, plot.x.log == 2), 'text-anchor="middle"')
    end
    for _, tick in ipairs(y.ticks) do
        line(out, LEFT, y_of(y, tick), WIDTH - RIGHT, y_of(y, tick), "grid")
        text(out, LEFT - 6, y_of(y, tick) + 4, short(tick), 'text-anchor="end"')
    end
    for _, tick in ipairs(y2 and y2.ticks or {}) do
        text(out, WIDTH - RIGHT + 6, y_of(y2, tick) + 4, short(tick))
    end
    line(out, LEFT, HEIGHT - BOTTOM, WIDTH - RIGHT, HEIGHT - BOTTOM, "axis")
    line(out, LEFT, TOP, LEFT, HEIGHT - BOTTOM, "axis")
    local middle = (TOP + HEIGHT - BOTTOM) / 2
    text(out, LEFT - 52, middle, plot.y.label, ('text-anchor="middle" transform="rotate(-90 %d %.1f)"'):format(LEFT - 52, middle))
    if y2 then
        local at = WIDTH - RIGHT + 50
        text(out, at, middle, plot.y2.label, ('text-anchor="middle" transform="rotate(90 %d %.1f)"'):format(at, middle))
    end
    text(out, (LEFT + WIDTH - RIGHT) / 2, HEIGHT - BOTTOM + 34, plot.x.label, 'text-anchor="middle"')
end

local function draw_series(out, i, s, x, y)
    local parts = {}
    for n, point in ipairs(s.points) do
        parts[n] = ("%s%.1f %.1f"):format(n == 1 and "M" or "L", x_of(x, point[1]), y_of(y, point[2]))
    end
    local dash = s.second and ' stroke-dasharray="6 4"' or ""
    out[#out + 1] = ('<path d="%s" stroke="%s"%s/>'):format(table.concat(parts, " "), COLOURS[(i - 1) % #COLOURS + 1], dash)
    if #s.points <= 24 then
        for _, point in ipairs(s.points) do
            out[#out + 1] = ('<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>'):format(x_of(x, point[1]), y_of(y, point[2]),
                COLOURS[(i - 1) % #COLOURS + 1])
        end
    end
end

local function draw_legend(out, series)
    local at, y = LEFT, HEIGHT - 14
    for i, s in ipairs(series) do
        out[#out + 1] = ('<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s" stroke-width="3"%s/>'):format(at, y - 4, at + 18, y - 4,
            COLOURS[(i - 1) % #COLOURS + 1], s.second and ' stroke-dasharray="6 4"' or "")
        text(out, at + 23, y, s.name)
        at = at + 40 + 6.6 * utf8.len(s.name)
    end
end

-- `plot`: title; x, y, perhaps y2: {label, log = true or a base, from, tight = true: ends where the figures do};
-- series: a list of {name, points = {{x, y}, …}, second = true for y2}.
-- Returns the SVG's text.
function M.draw(plot)
    local function first(s) return not s.second end
    local function second(s) return s.second end
    local x = scale(plot.x, range(plot.series, 1, function() return true end))
    local y = scale(plot.y, range(plot.series, 2, first))
    local y2 = plot.y2 and scale(plot.y2, range(plot.series, 2, second))
    local out = {('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d">'):format(WIDTH, HEIGHT, WIDTH, HEIGHT),
        STYLE, ('<rect class="page" width="%d" height="%d"/>'):format(WIDTH, HEIGHT)}
    text(out, WIDTH / 2, 24, plot.title, 'text-anchor="middle" class="title"')
    draw_axes(out, plot, x, y, y2)
    for i, s in ipairs(plot.series) do
        draw_series(out, i, s, x, s.second and y2 or y)
    end
    draw_legend(out, plot.series)
    out[#out + 1] = "</svg>\n"
    return table.concat(out, "\n")
end

return M
