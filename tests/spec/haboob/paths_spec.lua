local apps = dofile(debug.getinfo(1, "S").source:match("^@(.*/)") .. "apps.lua")
apps.use "haboob"
local paths = require "paths"

describe("paths.resolve", function()
    local good = {
        ["/"] = "index.html",
        ["/a"] = "a",
        ["/a/"] = "a/index.html",
        ["/a/b.html"] = "a/b.html",
        ["/a%20b"] = "a b",
        ["/%61"] = "a",
        ["/a..b"] = "a..b",
        ["/a."] = "a.",
        ["/%25"] = "%",
        ["/%252e%252e/x"] = "%2e%2e/x", -- decoded once, so this is a strange name and no way up
        ["/\xc3\xa9"] = "\xc3\xa9",
    }
    for encoded, path in pairs(good) do
        it("takes " .. encoded, function()
            assert.are.equal(path, (paths.resolve(encoded)))
        end)
    end

    local bad = {
        [""] = 400, ["a"] = 400, ["*"] = 400,
        ["/.."] = 400, ["/../etc/passwd"] = 400, ["/a/../b"] = 400, ["/a/.."] = 400, ["/."] = 400, ["/a/./b"] = 400,
        ["/%2e%2e/x"] = 400, ["/%2E./x"] = 400, ["/.%2e"] = 400,
        ["/a%2fb"] = 400, ["/a%2Fb"] = 400, ["/a%5cb"] = 400, ["/a\\b"] = 400, ["/..%5c..%5cx"] = 400,
        ["/a%00b"] = 400, ["/a\0b"] = 400, ["/a%0ab"] = 400, ["/a%7f"] = 400,
        ["/%"] = 400, ["/%4"] = 400, ["/%zz"] = 400, ["/%4z"] = 400, ["/a%"] = 400,
        ["/.git/config"] = 404, ["/a/.htaccess"] = 404, ["/%2egit"] = 404, ["/..."] = 404,
        ["//a"] = 404, ["/a//b"] = 404, ["//evil.example/x"] = 404,
    }
    for encoded, status in pairs(bad) do
        it(("refuses %q with %d"):format(encoded, status), function()
            assert.are.same({nil, status}, {paths.resolve(encoded)})
        end)
    end

    it("refuses what is too long", function()
        assert.are.same({nil, 414}, {paths.resolve("/" .. ("a"):rep(1024))})
    end)

    it("never gives a path that climbs, whatever comes", function()
        math.randomseed(11)
        local pieces = {"/", "..", ".", "%2e", "%2f", "%5c", "\\", "a", "%", "%00", "%252e", "\0", "~", "//"}
        for _ = 1, 20000 do
            local parts = {"/"}
            for i = 1, math.random(8) do
                parts[i + 1] = pieces[math.random(#pieces)]
            end
            local path = paths.resolve(table.concat(parts))
            if path then
                assert.is_nil(("/" .. path .. "/"):find("/%.%.?/"))
                assert.is_nil(path:find("^/"))
                assert.is_nil(path:find("[%z\\]"))
            end
        end
    end)
end)

describe("paths.split", function()
    it("parts the path from the query", function()
        assert.are.same({"/a", "x=1?y"}, {paths.split("/a?x=1?y")})
        assert.are.same({"/a", nil}, {paths.split("/a")})
        assert.are.same({"/a", nil}, {paths.split("/a?")})
        assert.are.same({"/a", nil}, {paths.split("/a#b")})
    end)

    it("takes the absolute form", function()
        assert.are.same({"/a", "b"}, {paths.split("http://host:8080/a?b")})
        assert.are.same({"/", nil}, {paths.split("http://host")})
        assert.are.same({"/", "q"}, {paths.split("HTTP://host?q")})
    end)
end)

describe("paths.query", function()
    it("decodes names and values", function()
        assert.are.same({a = "1", ["b c"] = "x y", d = ""}, paths.query("a=1&b+c=x%20y&d"))
        assert.are.same({}, paths.query(nil))
        assert.are.same({a = "%zz"}, paths.query("a=%zz"))
        assert.are.same({a = "2"}, paths.query("a=1&&a=2"))
    end)
end)
