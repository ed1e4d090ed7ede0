// Package panics keeps a panic within the goroutine where it happens. In PID 1
// a panic that is not recovered from is a kernel panic, in the resident process
// the end of the process that starts a broken session again, and recover works only in the goroutine
// itself. So every go statement of a package that is linked into /init begins
// with a deferred Recover, or is made by Go; TestEveryGoroutineRecovers checks
// that.
package panics

import (
	"context"
	"fmt"
	"runtime/debug"
)

// An Error is a panic that was recovered from.
type Error struct {
	Value any
	// Stack is the goroutine's, as debug.Stack tells it.
	Stack []byte
}

func (e *Error) Error() string {
	return fmt.Sprintf("BUG in sidusboot, please report it: %v", e.Value)
}

// Unwrap is the value of the panic, where that is an error.
func (e *Error) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// Recover, deferred, makes a panic of the function the error that err points to.
func Recover(err *error) {
	if p := recover(); p != nil {
		*err = &Error{Value: p, Stack: debug.Stack()}
	}
}

// Ignore, deferred, ends the function quietly. It is for those after whose panic
// nothing is left to tell.
func Ignore() { _ = recover() }

// AfterFunc is context.AfterFunc, whose function runs in a goroutine of its own.
// It is for those that set a deadline or close a file; a panic is forgotten.
func AfterFunc(ctx context.Context, f func()) (stop func() bool) {
	return context.AfterFunc(ctx, func() {
		defer Ignore()
		f()
	})
}

// Call is f's error, or its panic as an *Error.
func Call(f func() error) (err error) {
	defer Recover(&err)
	return f()
}

// Go runs f in a goroutine. The channel gives its error, or its panic as an
// *Error; it need not be received.
func Go(f func() error) <-chan error {
	done := make(chan error, 1)
	go func() {
		var err error
		defer func() { done <- err }()
		defer Recover(&err)
		err = f()
	}()
	return done
}
