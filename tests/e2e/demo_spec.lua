-- The commands that the README begins with: scripts/demo to its address and the three lines to try, and what the other
-- scripts say of themselves.
local ledger = require "tests.e2e.ledger"
local support = require "tests.e2e.support"

local preset = os.getenv("WEIR_PRESET") or "dev"
local quote = support.quote

local function script(line)
    local output, status = support.shell(("cd %s && %s 2>&1 </dev/null"):format(quote(support.root), line))
    return status, output
end

-- Starts scripts/demo as a shell does in a terminal: Ctrl-C is not ignored.
local function demo(app, env)
    local folder = support.tempdir()
    assert(os.execute("mkdir -m 700 " .. folder .. "/run"))
    local port = support.free_port()
    local line = "cd %s && exec env --default-signal=INT PORT=%d XDG_RUNTIME_DIR=%s/run %s scripts/demo %s"
    local host = support.start_command(line:format(quote(support.root), port, folder, env or "", app or ""))
    host.admin = ("%s/run/weir/%s.sock"):format(folder, app or "haboob")
    assert.equal("ready http://127.0.0.1:" .. port, host.ready)
    return host, "http://127.0.0.1:" .. port
end

-- The indented lines that it says to try.
local function tries(host)
    local list = {}
    for line in host:stderr():gmatch("\n    (curl [^\n]*)") do
        list[#list + 1] = line
    end
    return list
end

-- Types them; each has to print what its pattern says.
local function try(host, patterns)
    local lines = tries(host)
    assert.equal(#patterns, #lines)
    for i, line in ipairs(lines) do
        local output, status = support.shell(line .. " 2>/dev/null")
        assert.equal(0, status, line)
        assert.truthy(output:find(patterns[i]), line .. "\n" .. output)
    end
    assert.equal(#patterns, ledger.closed(host.admin).stages.web.http.answers_2xx)
end

local function interrupt(host)
    host:signal("INT")
    assert.equal(0, host:wait(20))
end

describe("scripts/demo", function()
    setup(function()
        if not preset:find("san") then -- the first time it takes longer than a ready line may
            local status, output = script("scripts/build release weir")
            assert.equal(0, status, output)
        end
    end)

    after_each(support.clean)

    local function it_builds(name, test)
        it(name, function()
            if preset:find("san") then
                pending("it builds and runs the release, not preset " .. preset)
            else
                test()
            end
        end)
    end

    it_builds("runs hello, whose lines to try work, until Ctrl-C", function()
        local host, url = demo("hello")
        assert.truthy(host:stderr():find("hello serves at " .. url .. "/", 1, true))
        try(host, {"^hello /\n$", "^hello /you\n$", "^HTTP/1.1 200 OK\r\n.*\r\n\r\nhello /any/path\n$"})
        interrupt(host)
    end)

    it_builds("runs haboob on a site that it makes, whose lines to try work, until Ctrl-C", function()
        local site = support.tempdir() .. "/site"
        local host, url = demo(nil, ("HABOOB_ROOT=%s HABOOB_DIRS=1"):format(site))
        assert.truthy(host:stderr():find("its ledger, live, at " .. url .. "/weir", 1, true))
        local page = assert(support.read(site .. "/index.html"))
        local length = #assert(support.read(site .. "/dir00000/class2_3"))
        try(host, {"^" .. page:gsub("%p", "%%%0") .. "$", "<h1>Hello, you</h1>",
            "^HTTP/1.1 200 OK\r\n.*Content%-Length: " .. length .. "\r\n\r\n$"})
        interrupt(host)
        assert.is_nil(support.read(site .. "/dir00001/index.html"))
    end)

    it_builds("says what is wrong when the port is taken", function()
        local host = demo("hello")
        local status, output = script(("PORT=%d XDG_RUNTIME_DIR=%s scripts/demo hello"):format(host.port, support.tempdir()))
        assert.equal(1, status, output)
        assert.truthy(output:find("127.0.0.1:" .. host.port, 1, true), output)
        assert.falsy(output:find("\nready ", 1, true), output)
        interrupt(host)
    end)

    it("refuses an application that is not there", function()
        for _, words in ipairs {"nothing", "../scripts/nothing", "hello haboob"} do
            local status, output = script("scripts/demo " .. words)
            assert.equal(64, status, words)
            assert.truthy(output:find("usage: scripts/demo [APP]", 1, true), output)
        end
    end)
end)

describe("a script of the README", function()
    for _, name in ipairs {
        "scripts/demo", "scripts/setup", "scripts/build", "scripts/haboob/make-files", "tests/run", "tests/bench/run",
    } do
        it("says how it is used: " .. name, function()
            local status, output = script(name .. " --help")
            assert.equal(0, status, output)
            assert.truthy(output:find("^usage: " .. name:gsub("%p", "%%%0") .. " "), output)
        end)
    end

    it("refuses what it does not know with 64", function()
        for _, line in ipairs {"scripts/setup --nothing", "tests/run nothing", "tests/bench/run --nothing",
            "scripts/haboob/make-files --nothing"} do
            local status, output = script(line)
            assert.equal(64, status, line .. "\n" .. output)
            assert.truthy(output:find("usage: ", 1, true), output)
        end
    end)

    it("builds nothing for a preset that does not exist", function()
        local status, output = script("scripts/build nothing")
        assert.equal(1, status)
        assert.truthy(output:find("scripts/build: preset nothing: ", 1, true), output)
    end)

    it("has nothing to say when nothing is missing: scripts/setup --tests", function()
        local status, output = script("scripts/setup --tests")
        assert.equal(0, status, output)
        assert.equal("", output)
    end)
end)
