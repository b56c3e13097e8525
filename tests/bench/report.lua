-- Collects figures, prints tables of medians with their ranges, and keeps both in build/bench.
local place = require "place"

local M = {}
M.__index = M

function M.new(name, options)
    local self = setmetatable({figures = {}, text = {}}, M)
    self.table_name = ("%s/%s.txt"):format(place.out, name)
    self.tsv = assert(io.open(("%s/%s.tsv"):format(place.out, name), "w"))
    self.tsv:write("case\tsubject\tmetric\tround\tvalue\n")
    local cpu = (place.read("/proc/cpuinfo") or ""):match("model name%s*:%s*([^\n]*)") or "unknown"
    self:say(("%s, %s: %s, %s CPUs, Linux %s; %d rounds"):format(name, os.date("%Y-%m-%d"), cpu, place.capture("nproc"),
        place.capture("uname -r"), options.rounds))
    return self
end

function M:say(line)
    print(line)
    self.text[#self.text + 1] = line
end

-- One figure of one round. `case` is what was done ("c64"), `subject` to whom ("nginx"), `metric` what was measured.
function M:add(case, subject, metric, value)
    local key = case .. "\0" .. subject .. "\0" .. metric
    local list = self.figures[key] or {}
    self.figures[key] = list
    list[#list + 1] = value
    self.tsv:write(("%s\t%s\t%s\t%d\t%.9g\n"):format(case, subject, metric, #list, value))
    self.tsv:flush()
end

-- Median, least and greatest; nil when there is no such figure.
function M:sum_up(case, subject, metric)
    local list = self.figures[case .. "\0" .. subject .. "\0" .. metric]
    if not list then
        return nil
    end
    local sorted = table.move(list, 1, #list, 1, {})
    table.sort(sorted)
    local n = #sorted
    local median = n % 2 == 1 and sorted[n // 2 + 1] or (sorted[n // 2] + sorted[n // 2 + 1]) / 2
    return median, sorted[1], sorted[n]
end

-- "12.3 [11.9-13.0]", scaled and formatted; "-" when there is none.
function M:cell(case, subject, metric, format, scale)
    local median, least, greatest = self:sum_up(case, subject, metric)
    if not median then
        return "-"
    end
    scale = scale or 1
    if least == greatest then
        return format:format(median * scale)
    end
    return (format .. " [" .. format .. "-" .. format .. "]"):format(median * scale, least * scale, greatest * scale)
end

-- The ratio of two subjects' medians, "1.15"; "-" when one is missing.
function M:ratio(case, metric, subject, base)
    local a, b = self:sum_up(case, subject, metric), self:sum_up(case, base, metric)
    return (a and b and b > 0) and ("%.2f"):format(a / b) or "-"
end

-- Prints rows (lists of strings), the first being the heads, in columns.
function M:print_table(rows)
    local widths = {}
    for _, row in ipairs(rows) do
        for i, text in ipairs(row) do
            widths[i] = math.max(widths[i] or 0, utf8.len(text))
        end
    end
    for _, row in ipairs(rows) do
        local parts = {}
        for i, text in ipairs(row) do
            parts[i] = text .. (" "):rep(widths[i] - utf8.len(text))
        end
        self:say((table.concat(parts, "  "):gsub(" +$", "")))
    end
end

function M:close()
    self.tsv:close()
    place.write(self.table_name, table.concat(self.text, "\n") .. "\n")
end

return M
