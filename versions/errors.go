package versions

import (
	"fmt"
	"strings"
)

// A LayoutError is a base in which something is not as it must be.
type LayoutError struct {
	// Path is what is wrong.
	Path string
	// Problem says what it is.
	Problem string
	// Remedy says what to do.
	Remedy string
}

func (e *LayoutError) Error() string { return e.Path + " " + e.Problem + ": " + e.Remedy }

// A NotFoundError is an ID that no version has.
type NotFoundError struct {
	Base, ID string
	// Have are those that are there, newest first.
	Have []string
}

func (e *NotFoundError) Error() string {
	have := "there is none yet"
	if len(e.Have) > 0 {
		have = "there are " + strings.Join(e.Have, ", ")
	}
	return fmt.Sprintf("%s has no version %s: %s", e.Base, e.ID, have)
}

// A BusyError says that another program changes the base.
type BusyError struct{ Base string }

func (e *BusyError) Error() string {
	return e.Base + ": another sidustree is changing it: try again when that one has finished"
}
