-- HTTP's dates, "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110 section 5.6.7), to and from seconds since 1970, without os.date, whose
-- names of days depend on the locale.
local M = {}

local days = {"Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"} -- 1970 began on a Thursday
local months = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"}
local month_numbers = {}
for number, name in ipairs(months) do
    month_numbers[name] = number
end

-- Days since 1970-01-01 of a day in the Gregorian calendar. Years are counted from March, so that the leap day is the last.
local function to_days(year, month, day)
    if month <= 2 then
        year, month = year - 1, month + 12
    end
    local leap_days = year // 4 - year // 100 + year // 400
    return 365 * year + leap_days + (153 * (month - 3) + 2) // 5 + day - 1 - 719468
end

local function from_days(count)
    count = count + 719468
    local era = count // 146097 -- 400 years
    local day = count % 146097
    local year_of_era = (day - day // 1460 + day // 36524 - day // 146096) // 365
    day = day - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    local month = (5 * day + 2) // 153 -- 0 is March
    local year = era * 400 + year_of_era + (month >= 10 and 1 or 0)
    return year, month >= 10 and month - 9 or month + 3, day - (153 * month + 2) // 5 + 1
end

function M.format(seconds)
    seconds = seconds // 1 | 0
    local count, rest = seconds // 86400, seconds % 86400
    local year, month, day = from_days(count)
    return ("%s, %02d %s %04d %02d:%02d:%02d GMT"):format(days[count % 7 + 1], day, months[month], year, rest // 3600,
        rest // 60 % 60, rest % 60)
end

-- Seconds since 1970; nil for anything but the form above (the two obsolete ones are not sent by clients of today).
function M.parse(text)
    local day, month, year, h, m, s = text:match("^%a%a%a, (%d%d) (%a%a%a) (%d%d%d%d) (%d%d):(%d%d):(%d%d) GMT$")
    local number = month_numbers[month]
    if not number then
        return nil
    end
    return to_days(tonumber(year), number, tonumber(day)) * 86400 + tonumber(h) * 3600 + tonumber(m) * 60 + tonumber(s)
end

return M
