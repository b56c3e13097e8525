local apps = dofile(debug.getinfo(1, "S").source:match("^@(.*/)") .. "apps.lua")
local tool = apps.top .. "/scripts/haboob/make-files"

local function read(name)
    local file = assert(io.open(name, "rb"))
    local text = file:read("a")
    file:close()
    return text
end

describe("make-files", function()
    local folder

    before_each(function()
        folder = os.tmpname()
        os.remove(folder)
    end)

    after_each(function()
        os.execute("rm -rf " .. folder .. " " .. folder .. ".2 " .. folder .. ".part")
    end)

    local function run(arguments)
        local _, _, status = os.execute(("%s %s >/dev/null 2>&1"):format(tool, arguments))
        return status
    end

    it("makes 36 files of the paper's sizes in each directory", function()
        assert.are.equal(0, run("--dirs 2 " .. folder))
        for class, unit in pairs {[0] = 102.4, 1024, 10240, 102400} do
            for k = 0, 8 do
                local text = read(("%s/dir00001/class%d_%d"):format(folder, class, k))
                assert.are.equal(math.floor(unit * (k + 1)), #text)
            end
        end
        assert.is_truthy(read(folder .. "/index.html"):find('href="dir00001/"', 1, true))
        assert.is_truthy(read(folder .. "/dir00000/index.html"):find('href="class3_8"', 1, true))
        assert.is_nil(io.open(folder .. "/dir00002/index.html"))
    end)

    it("makes the same bytes each time, and other bytes in another file", function()
        run("--dirs 1 " .. folder)
        run("--dirs 2 " .. folder .. ".2")
        assert.are.equal(read(folder .. "/dir00000/class2_3"), read(folder .. ".2/dir00000/class2_3"))
        assert.are_not.equal(read(folder .. ".2/dir00000/class2_3"), read(folder .. ".2/dir00001/class2_3"))
    end)

    it("leaves a folder that has something in it alone", function()
        os.execute("mkdir " .. folder .. " && touch " .. folder .. "/mine")
        assert.are.equal(1, run(folder))
        assert.is_nil(io.open(folder .. "/index.html"))
    end)

    it("says what it wants", function()
        for _, arguments in ipairs {"", "--dirs", "--dirs x " .. folder, "--wrong " .. folder, "a b", "--dirs 0 " .. folder} do
            assert.are.equal(64, run(arguments))
        end
        assert.are.equal(0, run("--help"))
    end)
end)
