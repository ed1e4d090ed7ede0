package panics

import (
	"errors"
	"io"
	"strings"
	"testing"
)

func TestGo(t *testing.T) {
	if err := <-Go(func() error { return nil }); err != nil {
		t.Errorf("no error became %v", err)
	}
	if err := <-Go(func() error { return io.EOF }); err != io.EOF {
		t.Errorf("io.EOF became %v", err)
	}
	var m map[string]int
	err := <-Go(func() error { m["a"] = 1; return nil })
	var p *Error
	if !errors.As(err, &p) || !strings.Contains(string(p.Stack), "panics_test.go") || !strings.Contains(err.Error(), "nil map") {
		t.Errorf("a panic became %v", err)
	}
	if err := Call(func() error { panic(io.EOF) }); !errors.Is(err, io.EOF) {
		t.Errorf("a panic with an error became %v", err)
	}
	func() {
		defer Ignore()
		panic("ignored")
	}()
}
