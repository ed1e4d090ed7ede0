package nfs

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// 100 nodes over three servers: each is the first of 27 to 40, and when it is
// gone, its nodes go to both of the others.
func TestSpread(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for name, number := range map[string]func(i uint32) uint32{
		"consecutive addresses": func(i uint32) uint32 { return 10<<24 | 77<<16 | 11 + i },
		"every second one":      func(i uint32) uint32 { return 10<<24 | 77<<16 | 2*i },
		"every third one":       func(i uint32) uint32 { return 192<<24 | 168<<16 | 3*i },
		"one in each subnet":    func(i uint32) uint32 { return 10<<24 | i<<8 | 7 },
		"MACs of one maker":     func(i uint32) uint32 { return 0x00123400 + i },
		"pairs on a board":      func(i uint32) uint32 { return 0x00ff3000 + 4*i },
	} {
		t.Run(name, func(t *testing.T) {
			var first, second [3]int
			for i := range uint32(100) {
				order := Spread(number(i), []int{1, 1, 1})
				if sorted := slices.Sorted(slices.Values(order)); !slices.Equal(sorted, []int{0, 1, 2}) {
					t.Fatalf("Spread = %v", order)
				}
				first[order[0]]++
				if order[0] == 0 {
					second[order[1]]++
				}
			}
			for i, n := range first {
				if n < 27 || n > 40 {
					t.Errorf("%d of 100 nodes begin with server %d: %v", n, i, first)
				}
			}
			if second[1] < 10 || second[2] < 10 {
				t.Errorf("without server 0 its nodes go to %v", second)
			}
		})
	}
	// Any numbers: about as even as chance.
	var first [3]int
	for range 3000 {
		first[Spread(random.Uint32(), []int{1, 1, 1})[0]]++
	}
	for _, n := range first {
		if n < 900 || n > 1100 {
			t.Errorf("of 3000 nodes with random numbers %v begin with each", first)
		}
	}
}

func TestSpreadWeights(t *testing.T) {
	var first [3]int
	for i := range uint32(100) {
		order := Spread(i, []int{60, 20, 0})
		first[order[0]]++
		if order[2] != 2 {
			t.Errorf("a server of weight 0 is not the last: %v", order)
		}
	}
	if first[0] < 70 || first[0] > 80 || first[2] != 0 {
		t.Errorf("weights 60, 20, 0: %v", first)
	}
	for weights, want := range map[string]string{"[]": "[]", "[7]": "[0]"} {
		list := []int{7}
		if weights == "[]" {
			list = nil
		}
		if got := fmt.Sprint(Spread(9, list)); got != want {
			t.Errorf("Spread of %s = %s, want %s", weights, got, want)
		}
	}
}
