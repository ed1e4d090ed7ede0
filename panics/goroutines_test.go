package panics

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/sidusboot/sidusboot/"

// A source is a package's files without tests.
type source struct {
	dir   string
	files []*ast.File
	funcs map[string][]*ast.FuncDecl
}

// linked reads the packages of this repository that are linked into /init.
func linked(t *testing.T, fset *token.FileSet) (all []*source) {
	t.Helper()
	seen := map[string]bool{"init": true}
	for open := []string{"init"}; len(open) > 0; {
		s := readSource(t, fset, open[0])
		open = open[1:]
		all = append(all, s)
		for _, f := range s.files {
			for _, i := range f.Imports {
				path, err := strconv.Unquote(i.Path.Value)
				if err != nil {
					t.Fatal(err)
				}
				if dir, ok := strings.CutPrefix(path, module); ok && !seen[dir] {
					seen[dir] = true
					open = append(open, dir)
				}
			}
		}
	}
	return all
}

func readSource(t *testing.T, fset *token.FileSet, dir string) *source {
	t.Helper()
	s := &source{dir: dir, funcs: make(map[string][]*ast.FuncDecl)}
	names, err := filepath.Glob(filepath.Join("..", dir, "*.go"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no source in %s: %v", dir, err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		s.add(t, fset, name, text)
	}
	return s
}

func (s *source) add(t *testing.T, fset *token.FileSet, name string, text []byte) {
	t.Helper()
	f, err := parser.ParseFile(fset, name, text, 0)
	if err != nil {
		t.Fatal(err)
	}
	s.files = append(s.files, f)
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Body != nil {
			s.funcs[fn.Name.Name] = append(s.funcs[fn.Name.Name], fn)
		}
	}
}

// begins finds all that begins a goroutine, and says which of it does not
// recover.
func (s *source) begins() (all, bad []token.Pos) {
	for _, f := range s.files {
		ast.Inspect(f, func(n ast.Node) bool {
			var run ast.Expr
			switch n := n.(type) {
			case *ast.GoStmt:
				run = n.Call.Fun
			case *ast.CallExpr:
				// context.AfterFunc, time.AfterFunc, WaitGroup.Go and their like
				// begin one for a function that they are given.
				sel, ok := n.Fun.(*ast.SelectorExpr)
				if !ok || len(n.Args) == 0 || (sel.Sel.Name != "AfterFunc" && sel.Sel.Name != "Go") || isName(sel.X, "panics") {
					return true
				}
				run = n.Args[len(n.Args)-1]
			default:
				return true
			}
			all = append(all, n.Pos())
			if !s.recovers(run) {
				bad = append(bad, n.Pos())
			}
			return true
		})
	}
	return all, bad
}

func isName(e ast.Expr, name string) bool {
	id, ok := e.(*ast.Ident)
	return ok && id.Name == name
}

// recovers tells whether a function recovers before it does anything else.
func (s *source) recovers(run ast.Expr) bool {
	switch run := run.(type) {
	case *ast.FuncLit:
		return s.bodyRecovers(run.Body)
	case *ast.Ident:
		return s.allRecover(run.Name)
	case *ast.SelectorExpr: // A method; the type is not looked at.
		return s.allRecover(run.Sel.Name)
	}
	return false
}

func (s *source) allRecover(name string) bool {
	fns := s.funcs[name]
	for _, fn := range fns {
		if !s.bodyRecovers(fn.Body) {
			return false
		}
	}
	return len(fns) > 0
}

// bodyRecovers wants the deferred recovery behind nothing but declarations and
// other deferred calls.
func (s *source) bodyRecovers(body *ast.BlockStmt) bool {
	for _, st := range body.List {
		switch st := st.(type) {
		case *ast.DeclStmt:
		case *ast.DeferStmt:
			if s.isRecovery(st.Call.Fun) {
				return true
			}
		default:
			return false
		}
	}
	return false
}

// isRecovery tells whether a deferred function calls recover itself: called by
// another one, recover does nothing.
func (s *source) isRecovery(fn ast.Expr) bool {
	switch fn := fn.(type) {
	case *ast.FuncLit:
		return callsRecover(fn.Body)
	case *ast.Ident:
		return s.declares(fn.Name)
	case *ast.SelectorExpr:
		if isName(fn.X, "panics") {
			return fn.Sel.Name == "Recover" || fn.Sel.Name == "Ignore"
		}
		return s.declares(fn.Sel.Name)
	}
	return false
}

func (s *source) declares(name string) bool {
	fns := s.funcs[name]
	return len(fns) > 0 && !slices.ContainsFunc(fns, func(fn *ast.FuncDecl) bool { return !callsRecover(fn.Body) })
}

func callsRecover(body *ast.BlockStmt) (found bool) {
	ast.Inspect(body, func(n ast.Node) bool {
		if _, ok := n.(*ast.FuncLit); ok {
			return false
		}
		if c, ok := n.(*ast.CallExpr); ok && isName(c.Fun, "recover") {
			found = true
		}
		return true
	})
	return found
}

// TestEveryGoroutineRecovers keeps a panic in any goroutine of /init from being
// a kernel panic.
func TestEveryGoroutineRecovers(t *testing.T) {
	fset := token.NewFileSet()
	count := 0
	for _, s := range linked(t, fset) {
		all, bad := s.begins()
		count += len(all)
		for _, pos := range bad {
			t.Errorf("%s: this goroutine does not recover from a panic, which would be the kernel's: begin it with panics.Go, or with a deferred panics.Recover", fset.Position(pos))
		}
	}
	if count < 5 {
		t.Errorf("only %d goroutines are begun in /init: does this test still find them?", count)
	}
}

// What the check takes for recovered, and what not.
func TestRecovers(t *testing.T) {
	const text = `package p
func named() { defer recovered(); work() }
func bare() { work() }
func recovered() { recover() }
func indirect() { func() { recover() }() }
func (t T) method() { var x int; defer close(c); defer func() { _ = recover() }() }
func f() {
	go named()
	go t.method()
	go func() { defer panics.Recover(&err) }()
	go func() { defer t.recovered(); work() }()
	context.AfterFunc(ctx, func() { defer panics.Ignore(); work() })
	panics.Go(work)

	go bare()
	go elsewhere.Work()
	go func() { work() }()
	go func() { work(); defer panics.Recover(&err) }()
	go func() { defer indirect() }()
	go func() { defer close(c) }()
	context.AfterFunc(ctx, work)
	wg.Go(func() { work() })
}
`
	fset := token.NewFileSet()
	s := &source{funcs: make(map[string][]*ast.FuncDecl)}
	s.add(t, fset, "p.go", []byte(text))
	all, bad := s.begins()
	var lines []int
	for _, pos := range bad {
		lines = append(lines, fset.Position(pos).Line)
	}
	if want := []int{15, 16, 17, 18, 19, 20, 21, 22}; !slices.Equal(lines, want) || len(all) != 13 {
		t.Errorf("lines %v of %d do not recover, want %v of 13", lines, len(all), want)
	}
}
