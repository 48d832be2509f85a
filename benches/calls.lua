-- What `wrk` asks, for benches/calls.sh: POSTs with a body of 200 bytes. WAYS of arguments:
-- `same`, or `new`, where each request is one of its own. Prints requests a second, and the
-- median and the 99th percentile of the latency in microseconds.
local count, thread = 0, 0
local filler = string.rep("x", 140)

function setup(it)
  it:set("thread", thread)
  thread = thread + 1
end

function init(args)
  way = args[1]
  seed = args[2]
end

function request()
  count = count + 1
  local id = way == "new" and (seed .. "-" .. thread .. "-" .. count) or "same"
  local body = string.format('{"order":"%s","filler":"%s"}', id, filler)
  return wrk.format("POST", nil, { ["content-type"] = "application/json" }, body)
end

function done(summary, latency)
  local errors = summary.errors
  local wrong = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format("%d %d %d %d\n", summary.requests / summary.duration * 1e6,
    latency:percentile(50), latency:percentile(99), wrong))
end
