// Package clock has the one clock that a boot and what stays after it have in
// common: the wall clock may be set while they run.
package clock

import (
	"math/rand/v2"
	"time"

	"golang.org/x/sys/unix"
)

// Uptime is the time since the machine started, its sleep included.
func Uptime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

// Jitter is between half and one and a half times d, at random: machines that start
// to wait at once must not come back at once.
func Jitter(d time.Duration) time.Duration { return d/2 + rand.N(d) }

// SleepForever does what select{} cannot: a Go program in which everything
// sleeps ends with a "deadlock", and where it is PID 1 so would the kernel.
func SleepForever() {
	for {
		time.Sleep(time.Hour)
	}
}
