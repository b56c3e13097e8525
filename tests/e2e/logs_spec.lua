-- scripts/logs: lines in by file and by TCP, exact sums out.
local json = require "cjson"
local support = require "tests.e2e.support"

local function run()
    local folder = support.tempdir()
    support.write(folder .. "/app.log", "")
    local command = ("cd %s && exec env XDG_RUNTIME_DIR=%s LOGS_FILE=%s/app.log LOGS_STATE=%s/state LOGS_OUT=%s/out LOGS_TCP_PORT=0 " ..
        "LOGS_HTTP_PORT=0 %s run scripts/logs"):format(support.root, folder, folder, folder, folder, support.quote(support.bin))
    local host = support.start_command(command)
    host.folder = folder
    for _, url in ipairs(host.urls) do
        local port = tonumber(url:match(":(%d+)$"))
        if url:match("^tcp:") then host.tcp = port else host.http = port end
    end
    return host
end

local function line(i, service, minute)
    return ('{"time":"2026-11-23T02:%02d:%02dZ","service":"%s","status":%d,"bytes":%d}\n'):format(minute, i % 60, service,
        i % 10 == 0 and 500 or 200, i)
end

-- Sums of all records written, by service.
local function sums(host)
    local totals = {}
    for text in (support.read(host.folder .. "/out/counts.jsonl") or ""):gmatch("[^\n]+") do
        local record = json.decode(text)
        local t = totals[record.service] or {lines = 0, failed = 0, bytes = 0, team = record.team}
        for _, field in ipairs{"lines", "failed", "bytes"} do
            t[field] = t[field] + record[field]
        end
        totals[record.service] = t
    end
    return totals
end

describe("the application logs", function()
    after_each(support.clean)

    it("counts every line that came by file and by TCP, over a rotation of the file", function()
        local host, n = run(), 5000
        local expected = {shop = {lines = 0, failed = 0, bytes = 0, team = "sales"},
            other = {lines = 0, failed = 0, bytes = 0, team = "unknown"}}
        local function add(service, i)
            local t = expected[service]
            t.lines, t.bytes, t.failed = t.lines + 1, t.bytes + i, t.failed + (i % 10 == 0 and 1 or 0)
        end
        local client, text = support.connect(host.tcp), {}
        for i = 1, n do
            text[i] = line(i, "shop", i % 3)
            add("shop", i)
        end
        client.sock:send(table.concat(text))
        local log = assert(io.open(host.folder .. "/app.log", "a"))
        for i = 1, n do
            log:write(line(i, "other", i % 2))
            add("other", i)
            if i == n // 2 then
                log:close()
                os.rename(host.folder .. "/app.log", host.folder .. "/app.log.1")
                log = assert(io.open(host.folder .. "/app.log", "a"))
            end
        end
        log:write("no log line\n")
        log:close()
        support.wait(60, "all lines", function()
            local now = sums(host)
            return now.shop and now.other and now.shop.lines == n and now.other.lines == n
        end)
        local now = sums(host)
        assert.same(expected.other, now.other)
        assert.same(expected.shop.bytes, now.shop.bytes)
        assert.same(expected.shop.failed, now.shop.failed)
        support.wait(10, "the reject", function()
            return support.read(host.folder .. "/out/rejects.log") == "no log line\n"
        end)
        local page = json.decode((support.curl("http://127.0.0.1:" .. host.http .. "/?service=shop")))
        local shown = 0
        for _, row in ipairs(page) do
            assert.equal("shop", row.service)
            shown = shown + row.lines
        end
        assert.equal(n, shown)
        assert.equal(0, host:stop())
    end)
end)
