package resident

// A Log is the kernel's log, as a bootlog.Logger writes it. Errors reach the
// console of a quiet node too, notices do not.
type Log interface {
	Errorf(format string, args ...any)
	Noticef(format string, args ...any)
	// Error logs an error, if there is one, and for a panic its stack.
	Error(err error)
	// Background runs f in a goroutine of its own and logs its error or panic.
	Background(f func() error)
}
