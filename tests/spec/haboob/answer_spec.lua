local apps = dofile(debug.getinfo(1, "S").source:match("^@(.*/)") .. "apps.lua")
apps.use "haboob"
local answer = require "answer"
local etag = require "etag"
local httpdate = require "httpdate"
local mime = require "mime"

local MODIFIED <const>, MODIFIED_TEXT <const> = 784111777, "Sun, 06 Nov 1994 08:49:37 GMT"
local page = answer.page("a.html", "0123456789", MODIFIED)

describe("an answer from memory", function()
    it("is the whole page with its validators", function()
        local status, headers, body = answer.make("GET", {}, page)
        assert.are.equal(200, status)
        assert.are.equal("0123456789", body)
        assert.are.equal("text/html; charset=utf-8", headers["content-type"])
        assert.are.equal(page.etag, headers.etag)
        assert.are.equal(MODIFIED_TEXT, headers["last-modified"])
        assert.are.equal("bytes", headers["accept-ranges"])
    end)

    it("is 304 when the client has it", function()
        for _, headers in ipairs {
            {["if-none-match"] = page.etag}, {["if-none-match"] = '"x", W/' .. page.etag}, {["if-none-match"] = " * "},
            {["if-modified-since"] = MODIFIED_TEXT}, {["if-modified-since"] = "Mon, 07 Nov 1994 00:00:00 GMT"},
        } do
            local status, _, body = answer.make("GET", headers, page)
            assert.are.same({304, nil}, {status, body})
        end
    end)

    it("is the page when the client has another one", function()
        for _, headers in ipairs {
            {["if-none-match"] = '"x"'}, {["if-modified-since"] = "Sun, 06 Nov 1994 08:49:36 GMT"},
            {["if-modified-since"] = "yesterday"}, {["if-none-match"] = '"x"', ["if-modified-since"] = MODIFIED_TEXT},
        } do
            assert.are.equal(200, (answer.make("GET", headers, page)))
        end
    end)

    it("does not compare dates when the page has none", function()
        local dateless = answer.page("a.html", "x", nil)
        assert.is_nil(dateless.headers["last-modified"])
        assert.are.equal(200, (answer.make("GET", {["if-modified-since"] = MODIFIED_TEXT}, dateless)))
    end)

    it("is a part of the page when a part was asked for", function()
        local cases = {["bytes=0-0"] = {"0", "0-0"}, ["bytes=2-4"] = {"234", "2-4"}, ["bytes=8-"] = {"89", "8-9"},
            ["bytes=-3"] = {"789", "7-9"}, ["bytes=-99"] = {"0123456789", "0-9"}, ["bytes=5-99"] = {"56789", "5-9"}}
        for range, want in pairs(cases) do
            local status, headers, body = answer.make("GET", {range = range}, page)
            assert.are.same({206, want[1], "bytes " .. want[2] .. "/10"}, {status, body, headers["content-range"]})
            assert.is_nil(page.headers["content-range"])
        end
    end)

    it("is 416 when no byte of the page was asked for", function()
        for _, range in ipairs {"bytes=10-", "bytes=10-20", "bytes=-0"} do
            local status, headers = answer.make("GET", {range = range}, page)
            assert.are.same({416, "bytes */10"}, {status, headers["content-range"]})
        end
    end)

    it("ignores ranges that are several, malformed, of another unit, or of a HEAD", function()
        for _, range in ipairs {
            "bytes=0-1,3-4", "bytes=4-2", "bytes=-", "lines=0-1", "bytes 0-1", "bytes=a-b", "bytes=" .. ("9"):rep(30) .. "-",
        } do
            assert.are.equal(200, (answer.make("GET", {range = range}, page)))
        end
        assert.are.equal(200, (answer.make("HEAD", {range = "bytes=0-0"}, page)))
    end)

    it("gives the whole page when If-Range names another one", function()
        assert.are.equal(200, (answer.make("GET", {range = "bytes=0-0", ["if-range"] = '"x"'}, page)))
        assert.are.equal(206, (answer.make("GET", {range = "bytes=0-0", ["if-range"] = page.etag}, page)))
        assert.are.equal(206, (answer.make("GET", {range = "bytes=0-0", ["if-range"] = MODIFIED_TEXT}, page)))
    end)

    it("has an empty page too", function()
        local empty = answer.page("e.txt", "", nil)
        assert.are.equal(200, (answer.make("GET", {}, empty)))
        assert.are.equal(416, (answer.make("GET", {range = "bytes=0-"}, empty)))
        assert.are.equal(416, (answer.make("GET", {range = "bytes=-5"}, empty)))
    end)
end)

describe("an etag", function()
    it("is the same for the same bytes and differs for one changed bit", function()
        math.randomseed(3)
        local seen, body = {}, {}
        for i = 1, 100 do
            body[i] = string.char(math.random(0, 255))
        end
        local text = table.concat(body)
        assert.are.equal(etag.of(text), etag.of(text))
        for length = 0, #text do
            local tag = etag.of(text:sub(1, length))
            assert.is_nil(seen[tag])
            seen[tag] = true
        end
        for at = 1, #text do
            for bit = 0, 7 do
                local changed = text:sub(1, at - 1) .. string.char(text:byte(at) ~ (1 << bit)) .. text:sub(at + 1)
                local tag = etag.of(changed)
                assert.is_nil(seen[tag])
                seen[tag] = true
            end
        end
        assert.is_truthy(etag.of(text):find('^"%x+%-%x+"$'))
    end)
end)

describe("HTTP's dates", function()
    it("go there and back", function()
        assert.are.equal(MODIFIED_TEXT, httpdate.format(MODIFIED))
        assert.are.equal(MODIFIED_TEXT, httpdate.format(MODIFIED + 0.9))
        assert.are.equal(MODIFIED, httpdate.parse(MODIFIED_TEXT))
        assert.are.equal("Thu, 01 Jan 1970 00:00:00 GMT", httpdate.format(0))
        for seconds = 1, 4200000000, 10123457 do
            local text = httpdate.format(seconds)
            assert.are.equal(seconds, httpdate.parse(text))
            assert.are.equal(os.date("!%a, %d %b %Y %H:%M:%S GMT", seconds), text)
        end
    end)

    it("are nil when malformed", function()
        for _, text in ipairs {"", "x", "Sun, 06 Foo 1994 08:49:37 GMT", "1994-11-06", "Sunday, 06-Nov-94 08:49:37 GMT"} do
            assert.is_nil(httpdate.parse(text))
        end
    end)
end)

describe("content types", function()
    it("follow the suffix", function()
        assert.are.equal("text/css; charset=utf-8", mime.of("a/b.CSS"))
        assert.are.equal("image/png", mime.of("a.b.png"))
        assert.are.equal("application/octet-stream", mime.of("a.strange"))
        assert.are.equal("text/plain; charset=utf-8", mime.of("dir.d/class0_1"))
    end)
end)
