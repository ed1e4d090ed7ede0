package initrd

import (
	"fmt"
	"strings"
)

// Options say what Build makes an image of.
type Options struct {
	// Root is the root tree that the nodes mount. It is only read. Required.
	Root string
	// Output is the image to be written. Required.
	Output string
	// Kernel is the release of a kernel in Root, or "all". Empty: the only one.
	Kernel string
	// Profiles are names of Profiles(). Where none of them has network drivers,
	// "generic" is added.
	Profiles []string
	// Modules are further modules, by name, loaded at every boot.
	Modules []string
	// Config is a file of kernel command line parameters, packed as
	// image.Config. Empty: none.
	Config string
	// Secrets is a file of users and passwords by node, of mode 0600, packed as
	// image.Secrets. Empty: none.
	Secrets string
	// Init is the program that becomes /init. Empty: the one in InitDir.
	Init string
	// InitDir is a folder with the programs that make leaves in bin/: init, and init-ARCH
	// for other architectures than the machine's (init-arm64). The one for the tree's
	// kernels becomes /init. Required where Init is empty.
	InitDir string
	// Rescue is a static program, packed as image.Rescue. Empty: none.
	Rescue string
	// Compress is one of Compressors(). Empty: the first of them.
	Compress string
	// Microcode says which microcode of the tree goes in: one of MicrocodeChoices(). Empty:
	// "auto", all that there is for the nodes that the image is for.
	Microcode string
	// Strict says that a warning about what goes in is an error, an *OptionError with a
	// *StrictError, and so is firmware that a driver names and Root does not have.
	Strict bool
	// AllowMissing are firmware files that may be missing, below lib/firmware, as for
	// path.Match: there is no warning about them, and with Strict no error.
	AllowMissing []string
	// Report is a file to which the Report is written as JSON. Empty: none.
	Report string
	// DryRun says that nothing is to be written, neither Output nor Report. All else
	// is done, so that the Report that Build returns is that of the image.
	DryRun bool
	// Builder names the program that calls Build, and its version. It is written
	// into the image.
	Builder string
}

// An OptionError is about one field of Options.
type OptionError struct {
	// Field is its name.
	Field string
	// Invalid says that no tree and no file could make the value a good one: it is
	// missing, it is not one of those that there are, or it contradicts another field.
	Invalid bool
	// Err says what is wrong with it and what to do.
	Err error
}

func (e *OptionError) Error() string { return e.Field + ": " + e.Err.Error() }

// Unwrap returns Err.
func (e *OptionError) Unwrap() error { return e.Err }

// OptionErrorf makes an OptionError.
func OptionErrorf(field, format string, args ...any) error {
	return &OptionError{Field: field, Err: fmt.Errorf(format, args...)}
}

// InvalidOptionf makes an OptionError that is Invalid.
func InvalidOptionf(field, format string, args ...any) error {
	return &OptionError{Field: field, Invalid: true, Err: fmt.Errorf(format, args...)}
}

// A RemedyError is an error that another value of the options would avoid. Its text does not
// say how a program takes them.
type RemedyError struct {
	// Fields are names of fields of Options, or of another struct of options.
	Fields []string
	Err    error
}

func (e *RemedyError) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *RemedyError) Unwrap() error { return e.Err }

// WithRemedy makes a RemedyError.
func WithRemedy(err error, fields ...string) error { return &RemedyError{Fields: fields, Err: err} }

// A StrictError is about an image that was not built because of Options.Strict.
type StrictError struct {
	// Findings would have been warnings, or firmware that is missing.
	Findings []string
}

func (e *StrictError) Error() string {
	return "no image was built, because of these warnings: " + strings.Join(e.Findings, "; ")
}
