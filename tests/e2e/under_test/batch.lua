local weir = require "weir"
return {handle_batch = function(evs) weir.emit("out", {n = evs.n or #evs, first = evs[1]}) end}
