-- Ten thousand connections at once: all are answered, the ledger is exact, and one that is idle costs next to nothing.
local ledger = require "tests.e2e.ledger"
local support = require "tests.e2e.support"

local WANTED <const>, LEAST <const> = 10000, 400
local SPARE <const> = 200 -- descriptors for whatever else a process has open
local MOST_BYTES <const> = 4096 -- that an idle connection may take of the process's own memory
local sanitized = (os.getenv("WEIR_PRESET") or ""):find("san") ~= nil

local hard = support.shell("ulimit -Hn"):match("%S+")
local count = math.min(WANTED, (tonumber(hard) or math.huge) - SPARE) -- the limit may be 'unlimited'
local raise_limit = "ulimit -Sn " .. hard .. " && "

local function start(name, env, arguments)
    local folder = support.tempdir()
    assert(os.execute("mkdir -m 700 " .. folder .. "/run"))
    local line = "%scd %s && exec env %s PORT=0 XDG_RUNTIME_DIR=%s/run %s run %s/scripts/%s --log-level warn %s"
    local host = support.start_command(line:format(raise_limit, folder, env or "", folder, support.quote(support.bin),
        support.quote(support.root), name, arguments or ""))
    host.admin = folder .. "/run/weir/" .. name .. ".sock"
    return host
end

-- The clients of crowd(): what they say, what they are told.
local clients

local function release()
    if clients then
        clients.input:close()
        clients.pipe:close()
        clients = nil
    end
end

-- Opens `n` connections to the host, see many_clients.lua, until release().
local function crowd(host, n, path)
    local fifo = support.tempdir() .. "/hold"
    assert(os.execute("mkfifo " .. fifo))
    local line = ("%sexec lua5.4 %s/tests/e2e/many_clients.lua %d %d %s <%s 2>&1"):format(raise_limit,
        support.quote(support.root), host.port, n, path, fifo)
    local pipe = assert(io.popen("bash -c " .. support.quote(line)))
    clients = {pipe = pipe, input = assert(io.open(fifo, "w"))}
end

-- One more request on all connections at once.
local function ask_again()
    clients.input:write("\n")
    clients.input:flush()
end

-- How often which status came to them, since they were asked last.
local function statuses()
    local seen = {}
    for line in clients.pipe:lines() do
        if line == "done" then
            return seen
        end
        local status, times = line:match("^(.*) (%d+)$")
        seen[status or line] = tonumber(times) or 0
    end
    error("the clients ended early: " .. (next(seen) or "without a word"))
end

-- Bytes of memory that the process has to itself.
local function pss(host)
    local text = assert(support.read(("/proc/%d/smaps_rollup"):format(host.pid)))
    return tonumber(text:match("\nPss:%s*(%d+)")) * 1024
end

local function connections(host)
    return ledger.stats(host.admin).stages.web.http.connections
end

local WARM <const> = 64

-- All counts of `rounds` requests on each connection, and nothing besides.
local function check_counts(host, rounds)
    local stats = ledger.closed(host.admin)
    local http = stats.stages.web.http
    local requests = rounds * count + 2 * WARM
    assert.equal(count, http.connections)
    assert.equal(count + WARM, http.accepted)
    assert.equal(requests, http.requests)
    assert.equal(requests, http.answers_2xx)
    assert.equal(requests, ledger.answers(http))
    for _, zero in ipairs {"refused", "accept_errors", "overloaded", "expired", "gone", "unanswered", "failed"} do
        assert.equal(0, http[zero], zero)
    end
    for name, stage in pairs(stats.stages) do
        local l = stage.ledger
        assert.equal(0, l.rejected + l.failed + l.expired + (name == "cache" and 0 or l.dropped), name)
    end
end

local function check(host, path)
    assert.is_true(count >= LEAST, ("'ulimit -Hn' is %s: %d descriptors are needed"):format(hard, LEAST + SPARE))
    crowd(host, WARM, path)
    assert.same({["200"] = WARM}, statuses())
    ask_again()
    assert.same({["200"] = WARM}, statuses())
    release()
    support.wait(20, "the end of the first connections", function() return connections(host) == 0 end)
    ledger.closed(host.admin)
    local before = pss(host)

    crowd(host, count, path)
    assert.same({["200"] = count}, statuses())
    check_counts(host, 1)
    local each = (pss(host) - before) / count
    print(("# %s: %d connections at once, %.0f bytes each"):format(path, count, each))
    if not sanitized then
        assert.is_true(each < MOST_BYTES, ("an idle connection takes %.0f bytes"):format(each))
    end

    ask_again()
    assert.same({["200"] = count}, statuses())
    check_counts(host, 2)
    release()
    support.wait(60, "the end of all connections", function() return connections(host) == 0 end)
    assert.equal(200, support.ask(host.port, support.get(path)).status)
    ledger.closed(host.admin)
    assert.equal(0, host:stop())
end

describe("ten thousand connections", function()
    after_each(function()
        release()
        support.clean()
    end)

    it("are served by hello", function()
        -- All ask before any reads: its queue of 256 would refuse most of them, as it should.
        check(start("hello", nil, "--set stages.hello.queue.capacity=16384"), "/you")
    end)

    it("are served by haboob", function()
        local site = support.tempdir() .. "/site"
        assert(os.execute(("%s/scripts/haboob/make-files --dirs 1 %s >/dev/null"):format(support.quote(support.root), site)))
        check(start("haboob", "HABOOB_ROOT=" .. site), "/dir00000/class1_3")
    end)
end)
