/* Two threads count to n: correctly, or (planted) with a race that ThreadSanitizer must find. See tests/sanitize.sh. */
long count(int n, int planted);

long count(int n, int planted)
{
    long total = 0, exact = 0;
#pragma omp parallel for num_threads(2) schedule(static) reduction(+ : exact)
    for (int i = 0; i < n; i++) {
        exact++;
        if (planted) {
            total++;
        }
    }
    return planted ? total : exact;
}
