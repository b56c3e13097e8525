-- weir.degrade: less quality under load. A knob that goes down while responses take too long and up again slowly when they
-- don't, and two ways to use it: around a handler, or as a stage of its own in front of others. See degrade.md.
-- After SEDA's service degradation (Welsh, Culler: Adaptive Overload Control for Busy Internet Servers, USITS 2003).
local weir = require "weir"

local Knob = {}
Knob.__index = Knob

local settings = {
    target = false,    -- seconds; required
    percentile = 90,   -- of the times, held against the target
    low = 0.8,         -- below low * target quality is raised …
    raise = 0.01,      -- … by this
    high = 1.1,        -- above high * target it is divided …
    cut = 2,           -- … by this
    min = 0.01,
    max = 1,
    samples = 100,     -- it looks after so many times …
    interval = 1,      -- … or so many seconds, whichever comes first
}

local function check(options, what)
    local knob = {}
    for name in pairs(options) do
        if settings[name] == nil then
            error(("%s: there is no option '%s'"):format(what, name), 3)
        end
    end
    for name, default in pairs(settings) do
        local value = options[name]
        if value == nil then
            value = default
        end
        if type(value) ~= "number" or value ~= value or value <= 0 then
            error(("%s: `%s` must be a number over 0, it is %s"):format(what, name, tostring(options[name])), 3)
        end
        knob[name] = value
    end
    if knob.min > knob.max or knob.low > knob.high or knob.percentile > 100 or knob.cut < 1 then
        error(what .. ": min is at most max, low at most high, percentile at most 100, cut at least 1", 3)
    end
    return knob
end

-- A knob at full quality.
local function new(options)
    local knob = check(options, "weir.degrade")
    knob.quality, knob.times, knob.count, knob.looked = knob.max, {}, 0, weir.now()
    return setmetatable(knob, Knob)
end

-- The quality now: min … max.
function Knob:get()
    return self.quality
end

local function step(self)
    local times, n = self.times, self.count
    for i = n + 1, #times do
        times[i] = nil
    end
    table.sort(times)
    local time = times[math.max(1, math.ceil(n * self.percentile / 100))]
    if time > self.high * self.target then
        self.quality = math.max(self.min, self.quality / self.cut)
    elseif time < self.low * self.target then
        self.quality = math.min(self.max, self.quality + self.raise)
    end
end

-- A request took so many seconds, from its arrival on. Without any quality stays as it is.
function Knob:took(seconds)
    self.count = self.count + 1
    self.times[self.count] = seconds
    local now = weir.now()
    if self.count < self.samples and now - self.looked < self.interval then
        return
    end
    step(self)
    self.count, self.looked = 0, now
end

-- A handler that calls handle(event, quality) and measures how old the event is when that returns.
function Knob:around(handle)
    return function(event)
        handle(event, self.quality)
        self:took(weir.meta().age)
    end
end

-- The stage: before another one (config.watch), whose queue says how long an event that comes now will take: by Little's law, what
-- is in it divided by its rate. Sends on with the quality in req.vars.quality, or in the table's field `quality`.
local stage = {}
local knob, watched, pause, next_look

function stage.init(ctx)
    local options = {}
    for name, value in pairs(ctx.config) do
        options[name] = value
    end
    watched, options.watch = options.watch, nil
    pause, options.pause = options.pause or 0.05, nil
    if type(watched) ~= "string" then
        error("weir.degrade: config needs `watch`, the name of the stage whose load counts")
    end
    options.samples = 1
    knob, next_look = check(options, "weir.degrade"), 0
    knob.quality, knob.times, knob.count, knob.looked = knob.max, {}, 0, 0
    setmetatable(knob, Knob)
end

local function look()
    local now = weir.now()
    if now < next_look then
        return
    end
    next_look = now + pause
    local queue = weir.queue(watched)
    local inside = queue.queued + queue.running
    if inside == 0 then
        knob:took(0)
    elseif queue.rate > 0 then
        knob:took(inside / queue.rate)
    end
end

function stage.handle(event)
    look()
    if type(event) == "table" then
        event.quality = knob:get()
    else
        event.vars.quality = knob:get()
    end
    weir.emit("out", event)
end

return {new = new, stage = stage}
